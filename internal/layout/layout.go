// Command layout draws the packages of the library and what they import, as a Mermaid graph for CONTRIBUTING.md:
//
//	go run ./internal/layout
//
// Its tests compare the graph there with the code, and limit the size of packages, structs and types.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const modulePath = "github.com/multinode-go/multinode"

func main() {
	graph, err := draw(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "layout:", err)
		os.Exit(1)
	}
	fmt.Print(graph)
}

// listed is a package in the output of `go list -json`.
type listed struct {
	Dir, ImportPath, Name string
	GoFiles               []string
	IgnoredGoFiles        []string // of other systems
	Imports               []string
}

// list returns the packages of the module in a folder.
func list(dir string) (all []listed, err error) {
	cmd := exec.CommandContext(context.Background(), "go", "list", "-json=Dir,ImportPath,Name,GoFiles,IgnoredGoFiles,Imports", "./...")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list in %s: %w", dir, err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("what go list has printed: %w", err)
		}
		all = append(all, one)
	}
}

// draw returns the graph of the library in a folder. Packages for tests are left out, and so is an import that a longer way
// tells already.
func draw(dir string) (string, error) {
	all, err := list(dir)
	if err != nil {
		return "", err
	}
	imports := make(map[string][]string)
	imported := make(map[string]bool)
	for _, p := range all {
		from := name(p.ImportPath)
		imports[from] = nil
		for _, path := range p.Imports {
			if path == modulePath || strings.HasPrefix(path, modulePath+"/") {
				imports[from] = append(imports[from], name(path))
				imported[name(path)] = imported[name(path)] || !strings.HasSuffix(from, "test")
			}
		}
	}
	var text strings.Builder
	text.WriteString("graph TD\n")
	for _, from := range sortedKeys(imports) {
		direct := imports[from]
		if !imported[from] && (len(direct) == 0 || strings.Contains(from, "internal/")) { // it is for tests
			continue
		}
		for _, to := range direct {
			if !slices.ContainsFunc(direct, func(other string) bool { return other != to && reaches(imports, other, to) }) {
				fmt.Fprintf(&text, "  %s --> %s\n", from, to)
			}
		}
	}
	return text.String(), nil
}

func name(path string) string { return strings.TrimPrefix(path, modulePath+"/") }

// reaches tells whether a package imports another one, itself or through others.
func reaches(imports map[string][]string, from, to string) bool {
	return slices.ContainsFunc(imports[from], func(next string) bool { return next == to || reaches(imports, next, to) })
}

func sortedKeys[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
