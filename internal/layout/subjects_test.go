package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// subjects are the files of a package, as groups: a type with all its methods is one subject, in as many files as it may have.
type subjects struct {
	group map[string]string          // of a file: the first one of its group
	uses  map[string]map[string]bool // of a group: the other groups whose declarations it names
}

// join makes two files one subject.
func (s *subjects) join(a, b string) {
	from, to := s.group[a], s.group[b]
	for file, group := range s.group {
		if group == from {
			s.group[file] = to
		}
	}
}

// cycles returns the circles of subjects, each as its files.
func (s *subjects) cycles() (all [][]string) {
	reached := make(map[string]map[string]bool)
	var reach func(from, at string)
	reach = func(from, at string) {
		for next := range s.uses[at] {
			if !reached[from][next] {
				reached[from][next] = true
				reach(from, next)
			}
		}
	}
	for group := range s.uses {
		reached[group] = make(map[string]bool)
		reach(group, group)
	}
	seen := make(map[string]bool)
	for _, group := range slices.Sorted(maps.Keys(s.uses)) {
		var circle []string
		for _, other := range slices.Sorted(maps.Keys(s.uses)) {
			if reached[group][other] && reached[other][group] && !seen[other] {
				seen[other] = true
				circle = append(circle, other)
			}
		}
		if len(circle) > 1 {
			all = append(all, circle)
		}
	}
	return all
}

// exports returns where the compiled form of each package is that the library needs.
func exports(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export", "./...")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	all := make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var one struct{ ImportPath, Export string }
		err := decoder.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all[one.ImportPath] = one.Export
	}
}

// subjectsOf returns the subjects of a package.
func subjectsOf(t *testing.T, p listed, compiled map[string]string) *subjects {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	s := &subjects{group: make(map[string]string), uses: make(map[string]map[string]bool)}
	for _, file := range p.GoFiles {
		parsed, err := parser.ParseFile(set, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, parsed)
		s.group[file] = file
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) })}
	_, err := config.Check(p.ImportPath, set, files, info)
	require.NoError(t, err)
	fileOf := func(at token.Pos) string { return filepath.Base(set.Position(at).Filename) }
	for _, object := range info.Defs {
		if f, ok := object.(*types.Func); ok {
			if receiver := f.Signature().Recv(); receiver != nil {
				if named := namedOf(receiver.Type()); named != nil {
					s.join(fileOf(f.Pos()), fileOf(named.Obj().Pos()))
				}
			}
		}
	}
	for file := range s.group {
		if _, portable := s.group[portableName(file)]; portable {
			s.join(file, portableName(file))
		}
	}
	for _, group := range s.group {
		s.uses[group] = make(map[string]bool)
	}
	for name, object := range info.Uses {
		if object.Pkg() == nil || object.Pkg().Path() != p.ImportPath || !isDeclaration(object) {
			continue
		}
		from, to := s.group[fileOf(name.Pos())], s.group[fileOf(object.Pos())]
		if from != to {
			s.uses[from][to] = true
		}
	}
	return s
}

// portableName returns the name of the file that a file for one system belongs to.
func portableName(file string) string {
	base := strings.TrimSuffix(file, ".go")
	if i := strings.LastIndexByte(base, '_'); i >= 0 && slices.Contains([]string{"linux", "unix", "darwin", "windows", "other"}, base[i+1:]) {
		return base[:i] + ".go"
	}
	return file
}

func namedOf(t types.Type) *types.Named {
	if pointer, ok := t.(*types.Pointer); ok {
		t = pointer.Elem()
	}
	named, _ := t.(*types.Named)
	return named
}

// isDeclaration tells whether an object is declared in a package, or a method is, and not inside of a function.
func isDeclaration(object types.Object) bool {
	if f, ok := object.(*types.Func); ok && f.Signature().Recv() != nil {
		return true
	}
	return object.Parent() == object.Pkg().Scope()
}

// tied are the packages with circles, and how many files of different subjects the largest one has: it may become less, and not
// more.
var tied = map[string]int{
	// The face of a thing, and what it is on one system, name each other.
	"reuseport": 3,
	// Errors, codes and frames are those of one protocol; a connection, what it reads and what it writes are one thing.
	"framing": 3,
	// The streams of a node are found by their node, and the nodes by their streams.
	"peer/bus": 6,
}

// TestSubjects: files of different subjects do not name each other in a circle, so that each can be read after those that it needs.
func TestSubjects(t *testing.T) {
	compiled := exports(t)
	all, err := list(root)
	require.NoError(t, err)
	for _, p := range all {
		largest := 0
		for _, circle := range subjectsOf(t, p, compiled).cycles() {
			largest = max(largest, len(circle))
			assert.LessOrEqual(t, len(circle), tied[name(p.ImportPath)], "%s: %s", name(p.ImportPath), strings.Join(circle, ", "))
		}
		assert.Equal(t, tied[name(p.ImportPath)], largest, "%s: the list has more than there is", name(p.ImportPath))
	}
}
