package cluster

import (
	"errors"
	"fmt"
)

// join joins two errors in one line.
func join(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	return fmt.Errorf("%w; %w", first, second)
}
