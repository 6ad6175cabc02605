// Package errline joins errors in one line, for a log or the last line of a program.
package errline

import (
	"errors"
	"fmt"
)

// Join returns an error that wraps both, with their texts in one line and a semicolon between them. If one of them is nil
// it wraps the other, and if both are it returns nil. errors.Join puts a line break between the texts.
func Join(first, second error) error {
	if first == nil || second == nil {
		return errors.Join(first, second)
	}
	return fmt.Errorf("%w; %w", first, second)
}
