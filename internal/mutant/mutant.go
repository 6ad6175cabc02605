// Package mutant breaks a rule of the code for a test, which has to notice. The code itself is not changed: the go
// command compiles other contents in place of a file (go help build, -overlay). It is for tests only.
//
//	overlay := mutant.Overlay(t, mutant.Edit{File: "drain_linux.go", Old: "if pending() {", New: "if false {"})
//	binary := mutant.TestBinary(t, overlay)
//	err := exec.Command(binary, "-test.run=TestOfTheRule").Run() // must fail
package mutant

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Edit replaces text in a Go file, whose path is relative to the folder of the test. Old must be in the file exactly once,
// so that a mutant never silently stops being one when the code changes.
type Edit struct {
	File, Old, New string
}

// Overlay writes the edited files to a temporary folder of the test, and returns the path of the JSON file for the
// -overlay flag of the go command. Several edits of a file are made one after the other. The sources stay as they are.
func Overlay(tb testing.TB, edits ...Edit) string {
	tb.Helper()
	folder := tb.TempDir()
	contents := make(map[string]string) // by absolute path
	for _, edit := range edits {
		path, err := filepath.Abs(edit.File)
		if err != nil {
			tb.Fatal(err)
		}
		content, edited := contents[path]
		if !edited {
			original, err := os.ReadFile(path)
			if err != nil {
				tb.Fatal(err)
			}
			content = string(original)
		}
		if n := strings.Count(content, edit.Old); n != 1 {
			tb.Fatalf("mutant: %q is in %s %d times, not once: adapt the mutant to the code", edit.Old, edit.File, n)
		}
		contents[path] = strings.Replace(content, edit.Old, edit.New, 1)
	}
	var overlay struct{ Replace map[string]string }
	overlay.Replace = make(map[string]string)
	for path, content := range maps.All(contents) {
		file, err := os.CreateTemp(folder, "*-"+filepath.Base(path))
		if err == nil {
			_, err = file.WriteString(content)
		}
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			tb.Fatal(err)
		}
		overlay.Replace[path] = file.Name()
	}
	value, err := json.Marshal(overlay)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, value, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// TestBinary compiles the tests of the package in the folder of the test with an overlay, and returns the path of the
// binary. Flags of go test, such as -race, may follow.
func TestBinary(tb testing.TB, overlay string, flags ...string) string {
	tb.Helper()
	return TestBinaryOf(tb, overlay, ".", flags...)
}

// TestBinaryOf is TestBinary for another package, which is named as go test takes it, from the folder of the test.
func TestBinaryOf(tb testing.TB, overlay, pkg string, flags ...string) string {
	tb.Helper()
	return compile(tb, append([]string{"test", "-c"}, flags...), overlay, pkg)
}

// Build compiles the program of a package with an overlay, and returns the path of the binary. The package is named as
// go build takes it, from the folder of the test.
func Build(tb testing.TB, overlay, pkg string, flags ...string) string {
	tb.Helper()
	return compile(tb, append([]string{"build"}, flags...), overlay, pkg)
}

func compile(tb testing.TB, command []string, overlay, pkg string) string {
	tb.Helper()
	binary := filepath.Join(tb.TempDir(), "mutant")
	cmd := exec.CommandContext(tb.Context(), "go", append(command, "-overlay", overlay, "-o", binary, pkg)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("mutant: %v: %v\n%s", cmd.Args, err, output)
	}
	return binary
}
