package main

import (
	"fmt"
	"time"
)

// took writes how long something took.
func took(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(max(time.Millisecond, d/100)).Truncate(time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// age writes how long something is ago, in the two largest units.
func age(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(0, now.Sub(since))
	const day = 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	}
}
