package proc

// Adopt watches a process that is no child of this one. How it ends is known to its parent alone: its Exit is Unknown.
func Adopt(pid int) (*Process, error) { return adopt(pid) }
