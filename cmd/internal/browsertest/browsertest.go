// Package browsertest drives the page of a program with a headless Chromium.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/internal/await"
)

const (
	// integrationVariable makes a test fail where it would skip because a tool is missing.
	integrationVariable = "MULTINODE_INTEGRATION"
	// screenshotsVariable is the directory for pictures of the pages; empty: none are taken.
	screenshotsVariable = "MULTINODE_SCREENSHOTS"
)

// Start starts a browser and returns its context. The end of the test ends it. Without Chromium, the test skips.
func Start(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("google-chrome")
	}
	if err != nil {
		const fix = "no chromium in PATH: apt-get install chromium"
		if os.Getenv(integrationVariable) != "" {
			t.Fatal(fix)
		}
		t.Skip(fix)
	}
	home, err := os.MkdirTemp("", "") //nolint:usetesting // that of t has a name too long for Chromium's socket
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(home)) })
	ctx, cancel := context.WithTimeout(context.Background(), 6*await.Limit)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(home, "profile")),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-smooth-scrolling", true), chromedp.Flag("disable-lcd-text", true),
		chromedp.NoSandbox, // it refuses root without this; it sees nothing but our own page
		chromedp.Env("HOME="+home, "TMPDIR="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "LANG=en_US.UTF-8"),
	)...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx) // Cancel below is its cancel
	require.NoError(t, chromedp.Do(ctx))
	t.Cleanup(func() { assert.NoError(t, chromedp.Cancel(ctx)) })
	return ctx
}

// Tab is one window of the browser.
type Tab struct {
	ctx context.Context //nolint:containedctx // chromedp keeps the window in it
	t   *testing.T
}

// NewTab opens a window. What its page throws, writes to the console, or is refused by its policy fails the test.
func NewTab(browser context.Context, t *testing.T) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewWindow(true))
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Listen(ctx, func(event any) {
		switch event := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page has thrown: %s %+v", event.ExceptionDetails.Text, event.ExceptionDetails.Exception)
		case *runtime.EventConsoleAPICalled:
			t.Errorf("the page has written to the console: %v", event.Args)
		case *log.EventEntryAdded:
			if event.Entry.Source == log.EntrySourceSecurity {
				t.Errorf("the page has been refused something: %s", event.Entry.Text)
			}
		}
	}))
	return &Tab{ctx, t}
}

// Do performs actions. If the page draws an element anew between the look for it and what is done to it, which a slow machine has the
// time for, they are performed again: the browser has done nothing to an element that it does not find.
func (p *Tab) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	err := chromedp.Do(p.ctx, actions...)
	for end := time.Now().Add(await.Limit); isGone(err) && time.Now().Before(end); {
		err = chromedp.Do(p.ctx, actions...)
	}
	require.NoError(p.t, err)
}

// serverError is the code of all errors of the DevTools protocol that have none of their own.
const serverError = -32000

// isGone reports whether an element was gone when something was to be done to it.
func isGone(err error) bool {
	failed, ok := errors.AsType[*cdproto.Error](err)
	return ok && failed.Code == serverError && strings.HasPrefix(failed.Message, "Could not find node")
}

// Press presses a key as a keyboard does: its text comes with the event that the page may prevent.
func (p *Tab) Press(key, text string) {
	p.t.Helper()
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		event := input.DispatchKeyEventParams{Type: kind, Key: key, Code: key}
		if kind == input.DispatchKeyEventTypeKeyDown {
			event.Text = text
		}
		_, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, event)
		require.NoError(p.t, err)
	}
}

// Await waits until the expression is true in the page. (chromedp.Poll makes a function of a string, which the policy of
// the page does not allow.)
func (p *Tab) Await(expression string) {
	p.t.Helper()
	const wait = `new Promise((done) => { const look = () => (%s) ? done(true) : setTimeout(look, 5); look() })`
	ctx, cancel := context.WithTimeout(p.ctx, await.Limit)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(wait, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		p.Picture("failed")
	}
	require.NoError(p.t, err, "waiting for %s", expression)
}

// Evaluate returns the value of the expression in the page.
func Evaluate[T any](p *Tab, expression string) T {
	p.t.Helper()
	result, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return result
}

// Size sets the size of the window, in pixels, and its scheme, light or dark.
func (p *Tab) Size(width, height int64, scheme string) {
	p.t.Helper()
	scale := 1.0
	if os.Getenv(screenshotsVariable) != "" {
		scale = 2 // the browser draws without a GPU: four times the pixels are so much more work
	}
	p.Do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(p.t, err)
}

// Picture takes a screenshot, where they are asked for.
func (p *Tab) Picture(name string) {
	p.t.Helper()
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	file := strings.ReplaceAll(p.t.Name(), "/", "-") + "-" + name + ".png"
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, file), png, 0o644))
}
