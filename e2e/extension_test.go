package e2e

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// An extension's service worker and its content script receive events. The manifest's policy lets the module run in the
// service worker; the content script follows the page's policy.
func TestExtension(t *testing.T) {
	requireDist(t)
	s := policy{}.serve(t)
	folder := writeExtension(t, s)
	extended, stop, err := startBrowser(
		chromedp.Flag("disable-extensions", false),
		chromedp.Flag("load-extension", folder),
		chromedp.Flag("disable-features", "DisableLoadExtensionCommandLineSwitch"),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	tab, cancel := context.WithTimeout(openTabOf(t, extended).Context, 2*time.Minute)
	t.Cleanup(cancel)
	page := s.page.URL + "/plain"
	shown := `!!document.documentElement.dataset.content && !!document.documentElement.dataset.background`
	if err := chromedp.Do(tab, chromedp.Navigate(page), waitFor(shown)); err != nil {
		t.Fatalf("the extension shows nothing: %v", err)
	}
	got, err := chromedp.Run(tab, chromedp.Evaluate[string](`JSON.stringify({ ...document.documentElement.dataset })`))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"content":"go in the page","background":"go in the page"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// writeExtension writes an extension whose two scripts note on the site's pages what they receive.
func writeExtension(t *testing.T, s *policySite) (folder string) {
	t.Helper()
	folder = t.TempDir()
	for _, name := range []string{"eventsource.js", "eventsource.wasm"} {
		copyFile(t, filepath.Join(dist, name), filepath.Join(folder, name))
	}
	write(t, filepath.Join(folder, "manifest.json"), `{
		"manifest_version": 3, "name": "Events", "version": "1",
		"background": { "service_worker": "background.js" },
		"content_scripts": [{ "matches": ["http://127.0.0.1/*"], "js": ["eventsource.js", "app.js", "content.js"] }],
		"web_accessible_resources": [{ "matches": ["http://127.0.0.1/*"], "resources": ["eventsource.wasm"] }],
		"host_permissions": ["http://127.0.0.1/*"],
		"content_security_policy": { "extension_pages": "script-src 'self' 'wasm-unsafe-eval'" }
	}`)
	write(t, filepath.Join(folder, "app.js"), s.fill(app))
	write(t, filepath.Join(folder, "background.js"), `importScripts('eventsource.js', 'app.js');
chrome.runtime.onMessage.addListener((message, sender, respond) => { result.then(respond); return true; });`)
	write(t, filepath.Join(folder, "content.js"), `const { dataset } = document.documentElement;
result.then(({ got }) => {
	dataset.content = got;
	chrome.runtime.sendMessage('result', ({ got }) => { dataset.background = got; });
});`)
	return folder
}
