package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// integrationVariable makes a test fail where it would skip because a tool is not there.
	integrationVariable = "MULTINODE_INTEGRATION"
	// screenshotsVariable is the directory for pictures of the page; empty: none are taken.
	screenshotsVariable = "CATALOG_SCREENSHOTS"
)

// browser starts a headless Chromium, whose context it returns.
func browser(t *testing.T) context.Context {
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
	ctx, cancel := context.WithTimeout(context.Background(), 6*patience)
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

// tab is one window of the browser.
type tab struct {
	ctx context.Context
	t   *testing.T
}

// newTab opens a window. What its page throws, writes to the console, or is refused by its policy fails the test.
func newTab(browser context.Context, t *testing.T) *tab {
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
	return &tab{ctx, t}
}

func (p *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	require.NoError(p.t, chromedp.Do(p.ctx, actions...))
}

// press presses a key as a keyboard does: its text comes with the event that the page may prevent.
func (p *tab) press(key, text string) {
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

// await waits until the expression is true in the page. (chromedp.Poll makes a function of a string, which the policy of
// the page does not allow.)
func (p *tab) await(expression string) {
	p.t.Helper()
	const wait = `new Promise((done) => { const look = () => (%s) ? done(true) : setTimeout(look, 5); look() })`
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf(wait, expression), chromedp.EvalAwaitPromise))
	if err != nil {
		p.picture("failed")
	}
	require.NoError(p.t, err, "waiting for %s", expression)
}

// evaluate returns what the expression is in the page.
func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	result, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	require.NoError(p.t, err, expression)
	return result
}

// size makes the window so large, light or dark.
func (p *tab) size(width, height int64, scheme string) {
	p.t.Helper()
	scale := 1.0
	if os.Getenv(screenshotsVariable) != "" {
		scale = 2 // the browser draws without a GPU: four times the pixels are so much more work
	}
	p.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(p.t, err)
}

// picture takes a screenshot, where they are asked for.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv(screenshotsVariable)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	require.NoError(p.t, err)
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// The price that one window changes is the one of every node, and of another window.
func TestIntegrationPrice(t *testing.T) {
	b := browser(t)
	p := start(t, "-nodes", "3")
	one, two := newTab(b, t), newTab(b, t)
	for _, page := range []*tab{one, two} {
		page.size(1280, 900, "light")
		page.do(chromedp.Navigate("http://"+p.addr+"/"), chromedp.WaitVisible(chromedp.CSS("#product-7")))
	}
	one.change(7, "12,5")
	one.await(`document.querySelectorAll("#answers li[data-price='1250']").length === 12`)
	assert.Greater(t, evaluate[int](one, `new Set([...document.querySelectorAll("#answers li")].map((li) => li.dataset.node)).size`), 1)
	assert.Contains(t, evaluate[string](one, `document.getElementById("state").textContent`), "version 2")
	two.await(`document.getElementById("price-7").textContent === "12.50"`)
	one.picture("light")

	two.do(chromedp.Click(chromedp.CSS("#price-7")))
	require.Equal(t, 200, p.put(t, "/products/7", `{"id":7,"name":"Kite","price":1,"version":2}`).status)
	two.do(chromedp.SetValue(chromedp.CSS("#product-7 input"), "99"), chromedp.Focus(chromedp.CSS("#product-7 input")))
	two.press("Enter", "\r")
	two.await(`document.getElementById("price-7")?.textContent === "0.01"`) // nobody's change is overwritten unseen
	assert.EqualValues(t, 1, p.get(t, "/products/7").product(t).Price)

	two.do(chromedp.Click(chromedp.CSS("#ask")))
	two.await(`document.querySelectorAll("#answers li[data-price='1']").length === 12`)
	for _, size := range []struct{ width, height int64 }{{360, 740}, {820, 700}, {1280, 900}} {
		two.size(size.width, size.height, "dark")
		assert.Zero(t, evaluate[int](two, `Math.max(0, document.documentElement.scrollWidth - innerWidth)`), "%v", size)
		two.picture(fmt.Sprintf("dark-%d", size.width))
	}
}

// change types a new price in the place of the old one, as a person would.
func (p *tab) change(id int, price string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(fmt.Sprintf("#price-%d", id))))
	p.do(chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("#product-%d input", id)), price))
	p.press("Enter", "\r")
}
