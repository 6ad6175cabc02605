package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cmd/internal/browsertest"
	"github.com/multinode-go/multinode/cmd/internal/demotest"
)

// tab is one window of the browser, with the page of the chat.
type tab struct {
	*browsertest.Tab
	t *testing.T
}

func newTab(browser context.Context, t *testing.T) *tab {
	t.Helper()
	return &tab{browsertest.NewTab(browser, t), t}
}

func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	return browsertest.Evaluate[T](p.Tab, expression)
}

// enter opens the page and takes a name, as a person would.
func (p *tab) enter(addr, name string) {
	p.t.Helper()
	p.Do(chromedp.Navigate("http://" + addr + "/"))
	if evaluate[string](p, `document.getElementById("my-name").textContent`) != "" { // that of another window
		p.Do(chromedp.Click(chromedp.CSS("#me")))
	}
	p.Do(chromedp.WaitVisible(chromedp.CSS("#who")), chromedp.SetValue(chromedp.CSS("#name"), name))
	p.Do(chromedp.SendKeys(chromedp.CSS("#name"), "\r"))
	p.Await(`!document.getElementById("who").open`)
	p.awaitConnected()
}

func (p *tab) awaitConnected() {
	p.t.Helper()
	p.Await(`document.getElementById("state").dataset.state === "connected"`)
}

func (p *tab) say(text string) {
	p.t.Helper()
	p.Do(chromedp.SendKeys(chromedp.CSS("#text"), text))
	p.Press("Enter", "\r")
}

// TestIntegration is all that takes a browser: its start takes longer than each of the tests.
func TestIntegration(t *testing.T) {
	b := browsertest.Start(t)
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
	p := demotest.Start(t, "-nodes", "1")
	page := newTab(b, t)
	page.Size(1280, 800, "light")
	page.Do(chromedp.Navigate("http://"+p.Addr+"/"), chromedp.WaitVisible(chromedp.CSS("#who")))
	page.Picture("name")
	page.enter(p.Addr, "Grace Hopper")
	page.Await(`document.querySelectorAll("#people-list li").length === 1`)
	page.Picture("empty")

	ada := enter(t, p.Addr, "Ada Lovelace")
	long := enter(t, p.Addr, strings.Repeat("W", 20)+" of the long name 42")
	ada.say(t, "Good morning. Is anybody on another node?")
	page.say("I am. The kernel has put me here, as far as I can tell.")
	long.say(t, "Words without end, "+strings.Repeat("Donaudampfschifffahrtsgesellschaft", 12)+", wrap.")
	long.say(t, "Two messages of one person stand together,\nand lines\n  are kept as they are.")
	ada.say(t, "<script>alert('no')</script> & <b>markup</b> is text")
	ada.say(t, "שלום, goes from right to left")
	page.say("https://example.com/" + strings.Repeat("a-very-long-path/", 14))
	page.say("👍")
	page.Await(`document.querySelectorAll(".message").length === 8 && !document.querySelector(".pending")`)
	page.Await(`document.querySelectorAll("#people-list li").length === 3`)

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
		page.Size(size.width, size.height, size.scheme)
		page.Picture(size.name)
		over := evaluate[[]string](page, `[...document.querySelectorAll("body *")].filter((e) => e.getClientRects().length &&
			!e.closest(".visually-hidden") && e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML)`)
		assert.Empty(t, over, "%s: beyond the right edge", size.name)
		scrolls := evaluate[bool](page, `document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight`)
		assert.False(t, scrolls, "%s: the page itself scrolls", size.name)
	}
	page.Do(chromedp.Click(chromedp.CSS("#people-toggle")))
	page.Picture("phone-people")
}

// enterOn opens pages until one is on another node than the one to avoid.
func enterOn(browser context.Context, t *testing.T, p *demotest.Program, name string, avoid int) *tab {
	t.Helper()
	page := newTab(browser, t)
	page.Size(900, 640, "light")
	page.enter(p.Addr, name)
	for range 100 {
		if page.node() != avoid {
			return page
		}
		page.Do(chromedp.Reload())
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
	p.Await(fmt.Sprintf(`!document.querySelector(".pending") && [...document.querySelectorAll(".text")].map((e) => e.textContent).join("\n") === %s.join("\n")`, want))
}

// Two windows on two nodes see each other's messages, and lose none when a node is killed under one of them.
func testTwoWindows(b context.Context, t *testing.T) {
	t.Helper()
	p := demotest.Start(t, "-nodes", "4")
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
	grace.Await(online)
	ada.Picture("two-windows-ada")
	grace.Picture("two-windows-grace")

	// While there is no node to send to, a message is pending.
	evaluate[bool](grace, `(window.RealWebSocket = window.WebSocket, window.WebSocket = function () { setTimeout(() => this.onclose(), 10) }, true)`)
	grace.killNode()
	grace.Await(`document.getElementById("state").dataset.state !== "connected"`)
	grace.say("Written while nobody is there.")
	ada.say("And this while you are away.")
	ada.awaitTexts("Hello, who is there?", "Me, on another node.", "And this while you are away.")
	pending := grace.messages()
	assert.Equal(t, shown{"Grace", "", "Written while nobody is there.", true, true}, pending[len(pending)-1])
	grace.Picture("two-windows-away")

	// It comes back on another node, has what it missed, and sends what is pending.
	evaluate[bool](grace, `(window.WebSocket = window.RealWebSocket, dispatchEvent(new Event("online")), true)`)
	grace.awaitConnected()
	assert.NotEqual(t, second, grace.node())
	all := []string{"Hello, who is there?", "Me, on another node.", "And this while you are away.", "Written while nobody is there."}
	grace.awaitTexts(all...)
	ada.awaitTexts(all...)
	assert.Contains(t, evaluate[string](grace, `document.querySelector(".note").textContent`),
		fmt.Sprintf("The connection to node %d was lost. You are on node %d now.", second, grace.node()))
	grace.Picture("two-windows-back")

	late := enterOn(b, t, p, "Late", -1)
	late.awaitTexts(all...)
	late.Picture("two-windows-late")
}

// A page works through the death of one node after the other while its user writes, without help.
func testWindowsUnderKills(b context.Context, t *testing.T) {
	t.Helper()
	p := demotest.Start(t, "-nodes", "3")
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
			page.Await(`!document.querySelector(".pending")`)
			want = append(want, before, during)
		}
	}
	for _, page := range []*tab{ada, grace} {
		page.Await(fmt.Sprintf(`document.querySelectorAll(".message").length >= %d`, len(want)))
	}
	assert.Equal(t, texts(ada), texts(grace))
	assert.ElementsMatch(t, want, texts(ada))
	ada.Picture("kills")
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
	p.Await(fmt.Sprintf(`document.getElementById("kill-command").textContent !== "kill -9 %d"`, pid))
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

// A reader who has scrolled up stays there when messages come, and sees a note.
func testScrolling(b context.Context, t *testing.T) {
	t.Helper()
	p := demotest.Start(t, "-nodes", "1")
	page := newTab(b, t)
	page.Size(900, 640, "light")
	page.enter(p.Addr, "Grace")
	ada := enter(t, p.Addr, "Ada")
	for i := range 30 {
		ada.say(t, fmt.Sprintf("line %d", i))
	}
	const atEnd = `(() => { const s = document.getElementById("scroller"); return s.scrollHeight - s.scrollTop - s.clientHeight < 2 })()`
	page.Await(`document.querySelectorAll(".message").length === 30 && ` + atEnd)
	page.Await(`(() => { const s = document.getElementById("scroller"); s.scrollTop = 100; return s.scrollTop === 100 })()`)
	ada.say(t, "news")
	page.Await(`!document.getElementById("newer").hidden && document.getElementById("scroller").scrollTop === 100`)
	page.Picture("scrolled-up")
	page.Do(chromedp.Click(chromedp.CSS("#newer")))
	page.Await(`document.getElementById("newer").hidden && ` + atEnd)
	ada.say(t, "more news")
	page.Await(`document.querySelectorAll(".message").length === 32 && ` + atEnd)
}

// A name is asked for once, kept for the next window, and can be changed in each by itself.
func testName(b context.Context, t *testing.T) {
	t.Helper()
	p := demotest.Start(t, "-nodes", "1")
	first := newTab(b, t)
	first.enter(p.Addr, "Grace")
	second := newTab(b, t)
	second.Do(chromedp.Navigate("http://" + p.Addr + "/"))
	second.awaitConnected()
	const name = `document.getElementById("my-name").textContent`
	assert.Equal(t, "Grace", evaluate[string](second, name))
	second.enter(p.Addr, "Grace Hopper")
	first.Await(`[...document.querySelectorAll("#people-list .name")].map((e) => e.textContent).join() === "Grace,Grace Hopper"`)
	assert.Equal(t, "Grace", evaluate[string](first, name))
	first.Do(chromedp.Reload())
	first.awaitConnected()
	assert.Equal(t, "Grace", evaluate[string](first, name), "a window keeps its name")
	assert.Equal(t, int64(maxName), evaluate[int64](first, `document.getElementById("name").maxLength`))
	assert.Equal(t, int64(maxText), evaluate[int64](first, `document.getElementById("text").maxLength`))
}
