package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	screenshotsVariable = "CHAT_SCREENSHOTS"
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
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.UserDataDir(filepath.Join(home, "profile")),
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
func newTab(t *testing.T, browser context.Context) *tab {
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

// enter opens the page and takes a name, as a person would.
func (p *tab) enter(addr, name string) {
	p.t.Helper()
	p.do(chromedp.Navigate("http://"+addr+"/"), chromedp.WaitVisible(chromedp.CSS("#who")))
	p.do(chromedp.SendKeys(chromedp.CSS("#name"), name+"\r"))
	p.awaitConnected()
}

func (p *tab) awaitConnected() {
	p.t.Helper()
	p.await(`document.getElementById("state").dataset.state === "connected"`)
}

func (p *tab) say(text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), text))
	p.press("Enter", "\r")
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
	p.do(chromedp.EmulateViewport(width, height, chromedp.EmulateScale(2)))
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

// A page with all that makes layouts break stays within its window, in each size.
func TestIntegrationLooks(t *testing.T) {
	b := browser(t)
	p := start(t, "-nodes", "1")
	page := newTab(t, b)
	page.size(1280, 800, "light")
	page.do(chromedp.Navigate("http://"+p.addr+"/"), chromedp.WaitVisible(chromedp.CSS("#who")))
	page.picture("name")
	page.enter(p.addr, "Grace Hopper")
	page.await(`document.querySelectorAll("#people-list li").length === 1`)
	page.picture("empty")

	ada := enter(t, p.addr, "Ada Lovelace")
	long := enter(t, p.addr, strings.Repeat("W", 20)+" of the long name 42")
	ada.say(t, "Good morning. Is anybody on another node?")
	page.say("I am. The kernel has put me here, as far as I can tell.")
	long.say(t, "Words without end, "+strings.Repeat("Donaudampfschifffahrtsgesellschaft", 12)+", wrap.")
	long.say(t, "Two messages of one person stand together,\nand lines\n  are kept as they are.")
	ada.say(t, "<script>alert('no')</script> & <b>markup</b> is text")
	ada.say(t, "שלום, goes from right to left")
	page.say("https://example.com/" + strings.Repeat("a-very-long-path/", 14))
	page.say("👍")
	page.await(`document.querySelectorAll(".message").length === 8 && !document.querySelector(".pending")`)
	page.await(`document.querySelectorAll("#people-list li").length === 3`)

	for _, size := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"desktop-light", 1280, 800, "light"},
		{"desktop-dark", 1280, 800, "dark"},
		{"tablet", 768, 1024, "light"},
		{"phone-light", 390, 844, "light"},
		{"phone-dark", 390, 844, "dark"},
		{"phone-small", 320, 568, "light"},
	} {
		page.size(size.width, size.height, size.scheme)
		page.picture(size.name)
		over := evaluate[[]string](page, `[...document.querySelectorAll("body *")].filter((e) => e.getClientRects().length &&
			!e.closest(".visually-hidden") && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML)`)
		assert.Empty(t, over, "%s: beyond the right edge", size.name)
		scrolls := evaluate[bool](page, `document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight`)
		assert.False(t, scrolls, "%s: the page itself scrolls", size.name)
	}
	page.do(chromedp.Click(chromedp.CSS("#people-toggle")))
	page.picture("phone-people")
}
