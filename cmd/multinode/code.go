package main

import (
	"context"
	"errors"
)

// Exit codes.
const (
	codeDone        = 0
	codeFailed      = 1
	codeUsage       = 2
	codeNotRunning  = 3
	codeBusy        = 4
	codeTimeout     = 5
	codeInterrupted = 130 // as a shell has it for SIGINT
)

const exitCodes = `
Exit codes:
  0  done
  1  failed; the error says why
  2  wrong usage, or several clusters run and none was named
  3  no such cluster, or it is not running
  4  busy: a reload or scale runs, and --refuse-busy was given
  5  it took longer than --timeout
  130  interrupted by Ctrl-C`

// codedError is an error with the exit code of the program. Without an error, all has been said.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

func failure(code int, err error) error { return &codedError{code, err} }

// codeOf returns the exit code for an error: the code of the innermost error that has one, which is the most exact. An
// error without a code comes from cobra, which knows only errors of usage.
func codeOf(err error) int {
	code := codeUsage
	for coded, ok := errors.AsType[*codedError](err); ok; coded, ok = errors.AsType[*codedError](coded.err) {
		code = coded.code
	}
	if code == codeFailed && errors.Is(err, context.DeadlineExceeded) {
		return codeTimeout
	}
	if code == codeFailed && errors.Is(err, context.Canceled) {
		return codeInterrupted
	}
	return code
}
