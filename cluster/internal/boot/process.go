package boot

// HasRole reports whether a process was started as a worker.
func HasRole(pid int) bool { return hasRole(pid) }
