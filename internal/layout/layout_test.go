package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// TestGraph: CONTRIBUTING.md shows the packages as they are.
func TestGraph(t *testing.T) {
	graph, err := draw(root)
	require.NoError(t, err)
	page, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	require.NoError(t, err)
	_, page, _ = bytes.Cut(page, []byte("```mermaid\n"))
	drawn, _, _ := bytes.Cut(page, []byte("```\n"))
	assert.Equal(t, graph, string(drawn), "go run ./internal/layout prints the graph")
}

// The limits, without tests. A package with a file for each system counts all of them.
const (
	maxFiles   = 30   // of a package
	maxLines   = 3000 // of a package
	maxFields  = 15   // of a struct
	maxMethods = 25   // of a type
)

// exempt are those over a limit, with what they have: it may become less, and not more.
var exempt = map[string]int{
	// A file for each system, one port in all its sides; and a message that is sent in each way that RFC 6455 knows.
	"files of reuseport":       55,
	"lines of reuseport":       4725,
	"fields of framing.outbox": 18,
	"methods of framing.Conn":  30,
}

// optionsOf are structs that may have more fields: each is one thing to set, or to show.
var optionsOf = []string{"Options", "Status", "NodeStatus"}

// TestSizes: nothing grows so large that only its author finds the way in it.
func TestSizes(t *testing.T) {
	sizes := make(map[string]int)
	for _, module := range []string{".", "cmd", "bench", "examples"} {
		all, err := list(filepath.Join(root, module))
		require.NoError(t, err)
		for _, p := range all {
			measure(t, p, sizes)
		}
	}
	limits := map[string]int{"files": maxFiles, "lines": maxLines, "fields": maxFields, "methods": maxMethods}
	for _, what := range slices.Sorted(maps.Keys(sizes)) {
		kind, _, _ := strings.Cut(what, " ")
		size, allowed := sizes[what], limits[kind]
		if more, ok := exempt[what]; ok {
			assert.Greater(t, size, allowed, "%s is within its limit: take it off the list", what)
			allowed = more
		}
		assert.LessOrEqual(t, size, allowed, what)
	}
	for what := range exempt {
		_, there := sizes[what]
		assert.True(t, there, "%s is gone: take it off the list", what)
	}
}

// TestWays: the functions that CONTRIBUTING.md names on its ways through the code exist.
func TestWays(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	require.NoError(t, err)
	_, page, _ = bytes.Cut(page, []byte("## The ways through it"))
	page, _, _ = bytes.Cut(page, []byte("\n## "))
	declared := functions(t)
	names := regexp.MustCompile("`(\\w+\\.[\\w.]+)`").FindAllSubmatch(page, -1)
	require.NotEmpty(t, names)
	for _, n := range names {
		assert.True(t, declared[string(n[1])], "%s is no function", n[1])
	}
}

// functions returns the functions and methods of the library, by package.Function and package.Type.Method.
func functions(t *testing.T) map[string]bool {
	t.Helper()
	declared := make(map[string]bool)
	packages, err := list(root)
	require.NoError(t, err)
	for _, p := range packages {
		for _, file := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			for _, d := range parsed.Decls {
				f, ok := d.(*ast.FuncDecl)
				switch {
				case !ok:
				case f.Recv != nil:
					declared[parsed.Name.Name+"."+receiver(f.Recv.List[0].Type)+"."+f.Name.Name] = true
				default:
					declared[parsed.Name.Name+"."+f.Name.Name] = true
				}
			}
		}
	}
	return declared
}

// measure adds the sizes of a package, and of what is in it.
func measure(t *testing.T, p listed, sizes map[string]int) {
	t.Helper()
	files := token.NewFileSet()
	of := func(kind, what string) string {
		return kind + " of " + strings.TrimSuffix(name(p.ImportPath)+"."+what, ".")
	}
	for _, file := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(p.Dir, file))
		require.NoError(t, err)
		sizes[of("files", "")]++
		sizes[of("lines", "")] += bytes.Count(content, []byte("\n"))
		parsed, err := parser.ParseFile(files, file, content, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil {
					sizes[of("methods", receiver(d.Recv.List[0].Type))]++
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					s, ok := spec.(*ast.TypeSpec)
					if !ok {
						continue
					}
					if fields, ok := s.Type.(*ast.StructType); ok && !slices.Contains(optionsOf, s.Name.Name) {
						sizes[of("fields", s.Name.Name)] = fields.Fields.NumFields()
					}
				}
			}
		}
	}
}

// receiver returns the name of a method's type.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	default:
		return ""
	}
}
