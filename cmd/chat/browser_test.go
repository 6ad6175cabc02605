package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
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

// enter opens the page and takes a name, as a person would.
func (p *tab) enter(addr, name string) {
	p.t.Helper()
	p.do(chromedp.Navigate("http://" + addr + "/"))
	if evaluate[string](p, `document.getElementById("my-name").textContent`) != "" { // that of another window
		p.do(chromedp.Click(chromedp.CSS("#me")))
	}
	p.do(chromedp.WaitVisible(chromedp.CSS("#who")), chromedp.SetValue(chromedp.CSS("#name"), name))
	p.do(chromedp.SendKeys(chromedp.CSS("#name"), "\r"))
	p.await(`!document.getElementById("who").open`)
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

// TestIntegration is all that takes a browser: its start takes longer than each of the tests.
func TestIntegration(t *testing.T) {
	b := browser(t)
	for name, test := range map[string]func(context.Context, *testing.T){
		"Looks":                   testLooks,
		"TwoWindows":              testTwoWindows,
		"WindowsUnderKills":       testWindowsUnderKills,
		"PageShowsWhatItsNodeHas": testPageShowsWhatItsNodeHas,
		"Scrolling":               testScrolling,
		"Name":                    testName,
	} {
		t.Run(name, func(t *testing.T) { test(b, t) })
	}
}

// A page with all that makes layouts break stays within its window, in each size.
func testLooks(b context.Context, t *testing.T) {
	t.Helper()
	p := start(t, "-nodes", "1")
	page := newTab(b, t)
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

// enterOn opens pages until one is on another node than the one to avoid.
func enterOn(browser context.Context, t *testing.T, p *program, name string, avoid int) *tab {
	t.Helper()
	page := newTab(browser, t)
	page.size(900, 640, "light")
	page.enter(p.addr, name)
	for range 100 {
		if page.node() != avoid {
			return page
		}
		page.do(chromedp.Reload())
		page.awaitConnected()
	}
	require.Fail(t, "the kernel puts all connections on one node")
	return nil
}

// node returns the node that the page says it is on.
func (p *tab) node() int {
	p.t.Helper()
	return evaluate[int](p, `Number(document.getElementById("state-node").textContent.replace("node ", ""))`)
}

// shown is a message as the page shows it.
type shown struct {
	Name, Node, Text string
	Pending, Mine    bool
}

func (p *tab) messages() []shown {
	p.t.Helper()
	return evaluate[[]shown](p, `[...document.querySelectorAll(".message")].map((m) => ({
		Name: m.querySelector(".name").textContent,
		Node: m.querySelector(".chip")?.textContent ?? "",
		Text: m.querySelector(".text").textContent,
		Pending: m.classList.contains("pending"),
		Mine: m.classList.contains("mine"),
	}))`)
}

// awaitTexts waits until the page shows these messages and has a receipt for its own.
func (p *tab) awaitTexts(texts ...string) {
	p.t.Helper()
	want, err := json.Marshal(texts)
	require.NoError(p.t, err)
	p.await(fmt.Sprintf(`!document.querySelector(".pending") && [...document.querySelectorAll(".text")].map((e) => e.textContent).join("\n") === %s.join("\n")`, want))
}

// Two windows on two nodes see each other's messages, and lose none when a node is killed under one of them.
func testTwoWindows(b context.Context, t *testing.T) {
	t.Helper()
	p := start(t, "-nodes", "4")
	ada := enterOn(b, t, p, "Ada", -1)
	grace := enterOn(b, t, p, "Grace", ada.node())
	first, second := ada.node(), grace.node()

	ada.say("Hello, who is there?")
	grace.awaitTexts("Hello, who is there?")
	grace.say("Me, on another node.")
	ada.awaitTexts("Hello, who is there?", "Me, on another node.")
	grace.awaitTexts("Hello, who is there?", "Me, on another node.")
	hello := shown{"Ada", fmt.Sprintf("node %d", first), "Hello, who is there?", false, false}
	me := shown{"Grace", fmt.Sprintf("node %d", second), "Me, on another node.", false, true}
	assert.Equal(t, []shown{hello, me}, grace.messages())
	hello.Mine, me.Mine = true, false
	assert.Equal(t, []shown{hello, me}, ada.messages())
	online := fmt.Sprintf(`[...document.querySelectorAll("#people-list li")].map((e) => e.textContent).join() === "AAdanode %d,GGracenode %dyou"`, first, second)
	grace.await(online)
	ada.picture("two-windows-ada")
	grace.picture("two-windows-grace")

	// While there is no node to send to, a message is pending.
	evaluate[bool](grace, `(window.RealWebSocket = window.WebSocket, window.WebSocket = function () { setTimeout(() => this.onclose(), 10) }, true)`)
	grace.killNode()
	grace.await(`document.getElementById("state").dataset.state !== "connected"`)
	grace.say("Written while nobody is there.")
	ada.say("And this while you are away.")
	ada.awaitTexts("Hello, who is there?", "Me, on another node.", "And this while you are away.")
	pending := grace.messages()
	assert.Equal(t, shown{"Grace", "", "Written while nobody is there.", true, true}, pending[len(pending)-1])
	grace.picture("two-windows-away")

	// It comes back on another node, has what it missed, and sends what is pending.
	evaluate[bool](grace, `(window.WebSocket = window.RealWebSocket, dispatchEvent(new Event("online")), true)`)
	grace.awaitConnected()
	assert.NotEqual(t, second, grace.node())
	all := []string{"Hello, who is there?", "Me, on another node.", "And this while you are away.", "Written while nobody is there."}
	grace.awaitTexts(all...)
	ada.awaitTexts(all...)
	assert.Contains(t, evaluate[string](grace, `document.querySelector(".note").textContent`),
		fmt.Sprintf("The connection to node %d was lost. You are on node %d now.", second, grace.node()))
	grace.picture("two-windows-back")

	late := enterOn(b, t, p, "Late", -1)
	late.awaitTexts(all...)
	late.picture("two-windows-late")
}

// A page goes on through the death of one node after the other while it is being written in, without help.
func testWindowsUnderKills(b context.Context, t *testing.T) {
	t.Helper()
	p := start(t, "-nodes", "3")
	ada := enterOn(b, t, p, "Ada", -1)
	grace := enterOn(b, t, p, "Grace", ada.node())
	var want []string
	for i := range 2 {
		for _, page := range []*tab{ada, grace} {
			before, during := fmt.Sprintf("before kill %d", i), fmt.Sprintf("during kill %d", i)
			page.say(before)
			pid := page.killNode()
			page.say(during)
			page.awaitOther(pid)
			page.await(`!document.querySelector(".pending")`)
			want = append(want, before, during)
		}
	}
	for _, page := range []*tab{ada, grace} {
		page.await(fmt.Sprintf(`document.querySelectorAll(".message").length >= %d`, len(want)))
	}
	assert.Equal(t, texts(ada), texts(grace))
	assert.ElementsMatch(t, want, texts(ada))
	ada.picture("kills")
}

// killNode kills the node that the page is on, and returns its process.
func (p *tab) killNode() (pid int) {
	p.t.Helper()
	for {
		p.awaitConnected()
		pid = evaluate[int](p, `Number(document.getElementById("kill-command").textContent.replace("kill -9 ", ""))`)
		err := signal(pid, syscall.SIGKILL)
		if err == nil {
			return pid
		}
		require.ErrorIs(p.t, err, os.ErrProcessDone)
		p.awaitOther(pid) // it was killed for another page, and this one did not know yet
	}
}

// awaitOther waits until the page is on another process.
func (p *tab) awaitOther(pid int) {
	p.t.Helper()
	p.await(fmt.Sprintf(`document.getElementById("kill-command").textContent !== "kill -9 %d"`, pid))
	p.awaitConnected()
}

func texts(p *tab) (texts []string) {
	p.t.Helper()
	for _, m := range p.messages() {
		texts = append(texts, m.Text)
	}
	return texts
}

// What died with its node before any other had it leaves the page when that is on another node.
func testPageShowsWhatItsNodeHas(b context.Context, t *testing.T) {
	t.Helper()
	n := newInProcess(t, place(t), 1)
	page := newTab(b, t)
	page.enter(n.addr, "Grace")
	ada := only(n, "Ada")
	stays := n.room.say(ada, "this-is-everywhere", "stays")
	n.room.say(ada, "this-is-nowhere-else", "goes")
	page.awaitTexts("stays", "goes")

	n.room.mu.Lock() // it is another node from here on
	n.room.history = newHistory(1000)
	n.room.history.merge(stays)
	for s := range n.room.sessions {
		s.end(websocket.StatusGoingAway, "")
	}
	n.room.mu.Unlock()
	page.awaitTexts("stays")
	page.say("and on")
	page.awaitTexts("stays", "and on")
}

// The reader who has scrolled up stays there when messages come, and is told.
func testScrolling(b context.Context, t *testing.T) {
	t.Helper()
	p := start(t, "-nodes", "1")
	page := newTab(b, t)
	page.size(900, 640, "light")
	page.enter(p.addr, "Grace")
	ada := enter(t, p.addr, "Ada")
	for i := range 30 {
		ada.say(t, fmt.Sprintf("line %d", i))
	}
	const atEnd = `(() => { const s = document.getElementById("scroller"); return s.scrollHeight - s.scrollTop - s.clientHeight < 2 })()`
	page.await(`document.querySelectorAll(".message").length === 30 && ` + atEnd)
	page.await(`(() => { const s = document.getElementById("scroller"); s.scrollTop = 100; return s.scrollTop === 100 })()`)
	ada.say(t, "news")
	page.await(`!document.getElementById("newer").hidden && document.getElementById("scroller").scrollTop === 100`)
	page.picture("scrolled-up")
	page.do(chromedp.Click(chromedp.CSS("#newer")))
	page.await(`document.getElementById("newer").hidden && ` + atEnd)
	ada.say(t, "more news")
	page.await(`document.querySelectorAll(".message").length === 32 && ` + atEnd)
}

// A name is asked for once, kept for the next window, and can be changed in each by itself.
func testName(b context.Context, t *testing.T) {
	t.Helper()
	p := start(t, "-nodes", "1")
	first := newTab(b, t)
	first.enter(p.addr, "Grace")
	second := newTab(b, t)
	second.do(chromedp.Navigate("http://" + p.addr + "/"))
	second.awaitConnected()
	const name = `document.getElementById("my-name").textContent`
	assert.Equal(t, "Grace", evaluate[string](second, name))
	second.enter(p.addr, "Grace Hopper")
	first.await(`[...document.querySelectorAll("#people-list .name")].map((e) => e.textContent).join() === "Grace,Grace Hopper"`)
	assert.Equal(t, "Grace", evaluate[string](first, name))
	first.do(chromedp.Reload())
	first.awaitConnected()
	assert.Equal(t, "Grace", evaluate[string](first, name), "a window keeps its name")
	assert.Equal(t, int64(maxName), evaluate[int64](first, `document.getElementById("name").maxLength`))
	assert.Equal(t, int64(maxText), evaluate[int64](first, `document.getElementById("text").maxLength`))
}
