package main

import (
	"fmt"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/multinode-go/multinode/cmd/internal/browsertest"
)

// The price that one window changes is the one of every node, and of another window.
func TestIntegrationPrice(t *testing.T) {
	b := browsertest.Start(t)
	p := start(t, "-nodes", "3")
	one, two := browsertest.NewTab(b, t), browsertest.NewTab(b, t)
	for _, page := range []*browsertest.Tab{one, two} {
		page.Size(1280, 900, "light")
		page.Do(chromedp.Navigate("http://"+p.Addr+"/"), chromedp.WaitVisible(chromedp.CSS("#product-7")))
	}
	change(t, one, 7, "12,5")
	one.Await(`document.querySelectorAll("#answers li[data-price='1250']").length === 12`)
	assert.Greater(t, browsertest.Evaluate[int](one, `new Set([...document.querySelectorAll("#answers li")].map((li) => li.dataset.node)).size`), 1)
	assert.Contains(t, browsertest.Evaluate[string](one, `document.getElementById("state").textContent`), "version 2")
	two.Await(`document.getElementById("price-7").textContent === "12.50"`)
	one.Picture("light")

	two.Do(chromedp.Click(chromedp.CSS("#price-7")))
	require.Equal(t, 200, p.put(t, "/products/7", `{"id":7,"name":"Kite","price":1,"version":2}`).status)
	two.Do(chromedp.SetValue(chromedp.CSS("#product-7 input"), "99"), chromedp.Focus(chromedp.CSS("#product-7 input")))
	two.Press("Enter", "\r")
	two.Await(`document.getElementById("price-7")?.textContent === "0.01"`) // no change is overwritten unseen
	assert.EqualValues(t, 1, p.get(t, "/products/7").product(t).Price)

	two.Do(chromedp.Click(chromedp.CSS("#ask")))
	two.Await(`document.querySelectorAll("#answers li[data-price='1']").length === 12`)
	for _, size := range []struct{ width, height int64 }{{360, 740}, {820, 700}, {1280, 900}} {
		two.Size(size.width, size.height, "dark")
		assert.Zero(t, browsertest.Evaluate[int](two, `Math.max(0, document.documentElement.scrollWidth - innerWidth)`), "%v", size)
		two.Picture(fmt.Sprintf("dark-%d", size.width))
	}
}

// change types a new price in the place of the old one, as a person would.
func change(t *testing.T, p *browsertest.Tab, id int, price string) {
	t.Helper()
	p.Do(chromedp.Click(chromedp.CSS(fmt.Sprintf("#price-%d", id))))
	p.Do(chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("#product-%d input", id)), price))
	p.Press("Enter", "\r")
}
