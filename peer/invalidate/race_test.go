//go:build race

package invalidate

const raceEnabled = true
