package cluster

import "time"

// reapInterval is how often a master that is process 1 looks for dead strangers. One is reaped when it is found dead
// twice, so that whoever started it by itself has had that long to wait for it.
const reapInterval = 5 * time.Second
