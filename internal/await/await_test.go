package await_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bounded are functions of testify whose arguments are a measured time and its bound.
var bounded = []string{"Less", "LessOrEqual", "InDelta", "InEpsilon", "WithinDuration"}

// TestNoTestBoundsTime finds the tests that a slow machine would fail: those that compare a measured time with a number of
// seconds, or wait for an event for so long, and not in the virtual time of testing/synctest.
func TestNoTestBoundsTime(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == "testdata" || entry.Name() == "node_modules":
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		for _, call := range boundsOf(file) {
			t.Errorf("%v: no machine is quick enough for every bound: use await.Limit, compare with a measure of the same run, or "+
				"run in virtual time", set.Position(call.Pos()))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Fatalf("only %d files: this is not the repository", files)
	}
}

func TestBoundsAreFound(t *testing.T) {
	const head, tail = "package a\nfunc f() {\n", "\n}"
	for text, want := range map[string]int{
		`assert.Less(t, time.Since(begin), 5*time.Second)`:                                    1,
		`require.InDelta(t, time.Since(begin), d, float64(10*time.Millisecond))`:              1,
		`assert.Less(t, time.Since(begin), await.Limit)`:                                      0,
		`assert.Less(t, time.Since(begin), 20*usual)`:                                         0,
		`assert.Less(t, d, 5*time.Second)`:                                                    0,
		`require.Eventually(t, func() bool { return f(time.Second) }, limit, time.Second)`:    0,
		`require.Eventually(t, func() bool { return true }, 5*time.Second, time.Millisecond)`: 1,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", head+text+tail, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(boundsOf(file)); got != want {
			t.Errorf("%s: %d found, not %d", text, got, want)
		}
	}
}

// boundsOf returns the calls with a bound in real time.
func boundsOf(file *ast.File) (calls []*ast.CallExpr) {
	if slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` }) {
		return nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case slices.Contains(bounded, f.Sel.Name):
			if slices.ContainsFunc(call.Args, isMeasured) && slices.ContainsFunc(call.Args, isNumber) {
				calls = append(calls, call)
			}
		case strings.HasPrefix(f.Sel.Name, "Eventually"):
			if len(call.Args) > 2 && isNumber(call.Args[2]) {
				calls = append(calls, call)
			}
		}
		return true
	})
	return calls
}

// isMeasured reports whether an expression calls time.Since.
func isMeasured(e ast.Expr) bool { return names(e, "Since") }

// isNumber reports whether an expression is made of a unit of time.
func isNumber(e ast.Expr) bool { return names(e, "Second", "Millisecond", "Microsecond") }

// names reports whether an expression has one of these names of package time.
func names(e ast.Expr, some ...string) (found bool) {
	ast.Inspect(e, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			x, isName := s.X.(*ast.Ident)
			found = found || isName && x.Name == "time" && slices.Contains(some, s.Sel.Name)
		}
		return !found
	})
	return found
}
