// Package closed looks at channels that are closed to tell that something has happened.
package closed

// Is tells whether c is closed. Nobody sends on c.
func Is(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
