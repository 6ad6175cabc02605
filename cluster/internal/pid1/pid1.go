// Package pid1 gives a container an init, so that the program in it is an ordinary process.
//
// Process 1 of a pid namespace is special (pid_namespaces(7)): it becomes the parent of all orphans and has to reap them, a
// signal that it does not handle has no effect, and its end kills all others. A program cannot reap orphans and wait for its
// own children at the same time: wait(2) does not tell which is which. So the program does not stay process 1.
//
// [Become] replaces the program in process 1 by an init, with exec: the same executable, which ends before main. The init starts the
// program as its child and passes on its signals, reaps orphans, and starts the program again when it has crashed. It ends with
// the exit code of the program; 128 and the number of the signal, as a shell does, if a signal has killed the program.
//
// The program has a [Line] to the init, on which it says what the init cannot see: that it is ready, that it stops, which
// process takes its place. rules.go holds what the init does with that.
package pid1

// Init is this process's line. It is nil in a process that was not started by an init, and in what the program starts.
var Init = begin()
