// Package await says how long a test waits for an event.
package await

import "time"

// Limit bounds the wait for an event that must come. It only ends the wait for an event that never comes: no test may
// fail because the machine is slow, so it is long enough for a machine that has a tenth of the speed and is busy with
// other tests.
const Limit = 5 * time.Minute
