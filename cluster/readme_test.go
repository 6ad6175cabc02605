package cluster_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestReadmeCompiles: the code in the README is in the examples, which are compiled, apart from the indentation.
func TestReadmeCompiles(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	var examples string
	for _, name := range []string{"example_test.go", "example_talk_test.go"} {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		examples += flat(string(content))
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1)
	assert.Greater(t, len(blocks), 5)
	for _, block := range blocks {
		if strings.HasPrefix(block[1], "package main") {
			continue // a program of its own: cmd/hello has the same lines
		}
		assert.Contains(t, examples, flat(block[1]))
	}
}

// flat returns code without its indentation.
func flat(code string) string {
	return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(code, "")
}
