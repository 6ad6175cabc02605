package cluster

type notifier struct{}

func (m *master) tellMainPID(pid int)     {}
func (m *master) notifyEnviron() []string { return nil }
