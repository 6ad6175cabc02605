// Package command has what the commands of bench share: flags, and how a wrong use is told.
package command

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// ErrUsage is the error of arguments that are wrong, which the user has been told already.
var ErrUsage = errors.New("usage")

// Parse parses the flags of a command. Help and errors go to stderr, below a text on its usage. The error is flag.ErrHelp or
// ErrUsage.
func Parse(flags *flag.FlagSet, args []string, stderr io.Writer, usage string) error {
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: go run ./bench", usage)
		flags.PrintDefaults()
	}
	err := flags.Parse(args)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		return ErrUsage
	}
	return err
}

// Wrong tells what is wrong, and returns ErrUsage.
func Wrong(stderr io.Writer, err error) error {
	fmt.Fprintf(stderr, "bench: %v; -h lists the flags\n", err)
	return ErrUsage
}

// Choose returns the names of a list with commas, each of which has to be one of all. An empty list is all of them.
func Choose(what, list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("no %s %q, have %s", what, name, strings.Join(all, ", "))
		}
	}
	return names, nil
}
