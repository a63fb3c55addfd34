package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func serveSuite(t *testing.T, suite *Suite) string {
	t.Helper()
	suite.Dist = http.FileServer(http.Dir(dist))
	server := httptest.NewServer(suite.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(func() {
		for number := range suite.labs {
			suite.forget(number)
		}
	})
	return server.URL + "/conformance/"
}

func request(t *testing.T, method, url, body string, header ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func postLab(t *testing.T, page string) description {
	t.Helper()
	status, body := request(t, "POST", page+"labs", "")
	var lab description
	if err := json.Unmarshal([]byte(body), &lab); status != http.StatusOK || err != nil {
		t.Fatalf("opening a lab: %d %s", status, body)
	}
	return lab
}

// The page runs the scenarios of a file on both implementations, reports the result and offers it for download.
func TestConformancePage(t *testing.T) {
	t.Parallel()
	reports := make(chan []byte, 1)
	page := serveSuite(t, &Suite{Report: func(report []byte) { reports <- report }})
	tab := newTab(t)
	if err := chromedp.Do(tab, chromedp.Navigate(page+"?run&report&file=retry")); err != nil {
		t.Fatal(err)
	}
	var report []byte
	select {
	case report = <-reports:
	case <-tab.Done():
		t.Fatal("the page never reported")
	}
	var got struct {
		Totals map[string]struct{ AsTheStandard, Explained, Unexplained int }
	}
	if err := json.Unmarshal(report, &got); err != nil {
		t.Fatal(err)
	}
	for _, implementation := range implementations {
		if totals := got.Totals[implementation]; totals.AsTheStandard == 0 || totals.Unexplained > 0 {
			t.Errorf("%s: %+v in %.5000s", implementation, totals, report)
		}
	}
	download := `(async () => (await fetch(document.getElementById('download').href)).text())()`
	if err := chromedp.Do(tab, waitFor(`!document.getElementById('download').hidden`)); err != nil {
		t.Fatalf("no download is offered: %v", err)
	}
	text, err := chromedp.Run(tab, chromedp.Evaluate[string](download, chromedp.EvalAwaitPromise))
	if err != nil || text != string(report) {
		t.Errorf("the download is not the report: %v", err)
	}
	checkReportPage(t, report)
}

// The page also runs the scenarios on the script whose URL is entered.
func TestConformancePageTakesAScript(t *testing.T) {
	t.Parallel()
	scripts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		io.WriteString(w, "export class EventSource extends globalThis.EventSource {}")
	}))
	t.Cleanup(scripts.Close)
	reports := make(chan []byte, 1)
	page := serveSuite(t, &Suite{Report: func(report []byte) { reports <- report }})
	tab := newTab(t)
	const begin = `document.getElementById('script').value = %q; document.getElementById('run').click()`
	if err := chromedp.Do(tab, chromedp.Navigate(page+"?report&file=responses&implementation=native"),
		waitFor(`!document.getElementById('run').hidden`),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(begin, "no URL")),
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(begin, scripts.URL))); err != nil {
		t.Fatal(err)
	}
	var report []byte
	select {
	case report = <-reports:
	case <-tab.Done():
		t.Fatal("the page never reported")
	}
	var got struct {
		Totals map[string]struct{ AsTheStandard int }
	}
	if err := json.Unmarshal(report, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Totals) != 2 || got.Totals[scripts.URL].AsTheStandard == 0 || got.Totals["native"].AsTheStandard == 0 {
		t.Errorf("%+v in %.5000s", got.Totals, report)
	}
}

// checkReportPage opens the page of a report on a server without other files.
func checkReportPage(t *testing.T, report []byte) {
	t.Helper()
	report = []byte(strings.Replace(string(report), `"browser": "`, `"browser": "</script><b>`, 1))
	page, err := ReportPage(report)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	}))
	t.Cleanup(server.Close)
	tab := newTab(t)
	rows := `document.querySelectorAll('article .as').length > 0 && document.getElementById('browser').textContent.startsWith('</script><b>')`
	if err := chromedp.Do(tab, chromedp.Navigate(server.URL)); err != nil {
		t.Fatal(err)
	}
	if shown, err := chromedp.Run(tab, chromedp.Evaluate[bool](rows)); err != nil || !shown {
		t.Errorf("the page does not show the report: %v", err)
	}
}

func TestSuiteBoundsItsLabs(t *testing.T) {
	page := serveSuite(t, &Suite{MaxLabs: 2})
	first := postLab(t, page)
	postLab(t, page)
	if status, body := request(t, "POST", page+"labs", ""); status != http.StatusServiceUnavailable || !strings.Contains(body, "too many open labs") {
		t.Errorf("a third lab: %d %s", status, body)
	}
	if status, _ := request(t, "DELETE", page+"labs/"+strconv.FormatInt(first.Number, 10), ""); status != http.StatusNoContent {
		t.Errorf("closing a lab: %d", status)
	}
	if _, err := http.Get(first.Origins["A"] + "/harness/run.html"); err == nil {
		t.Error("a closed lab answers")
	}
	if status, _ := request(t, "GET", page+"labs/"+strconv.FormatInt(first.Number, 10)+"/result", ""); status != http.StatusNotFound {
		t.Errorf("the result of a closed lab: %d", status)
	}
	postLab(t, page)
}

func TestSuiteClosesForgottenLabs(t *testing.T) {
	page := serveSuite(t, &Suite{LabAge: time.Millisecond})
	lab := postLab(t, page)
	for {
		if _, err := http.Get(lab.Origins["control"] + "/lab"); err != nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the lab is still open")
		}
	}
}

func TestSuiteIsForItsOwnPages(t *testing.T) {
	page := serveSuite(t, &Suite{})
	foreign := []string{"Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site"}
	if status, _ := request(t, "POST", page+"labs", "", foreign...); status != http.StatusForbidden {
		t.Errorf("a lab for a page of another origin: %d", status)
	}
	lab := postLab(t, page)
	for _, origin := range []string{"", "null", "https://elsewhere.example", lab.Origins["B"]} {
		if status, _ := request(t, "GET", lab.Origins["control"]+"/lab", "", "Origin", origin); status != http.StatusForbidden {
			t.Errorf("control answers a page of origin %q: %d", origin, status)
		}
	}
	if status, body := request(t, "GET", lab.Origins["control"]+"/lab", "", "Origin", lab.Origins["A"]); status != http.StatusOK || !strings.Contains(body, lab.Origins["C"]) {
		t.Errorf("control's answer to the lab's page: %d %s", status, body)
	}
}

// If the page was opened by another name of this machine, its lab's origins have that name: cookies and frames stay
// same-site.
func TestLabHasThePagesHost(t *testing.T) {
	page := serveSuite(t, &Suite{})
	page = strings.Replace(page, "127.0.0.1", "localhost", 1)
	if lab := postLab(t, page); !strings.HasPrefix(lab.Origins["A"], "http://localhost:") {
		t.Errorf("origin A is %s", lab.Origins["A"])
	}
}

func TestSuiteRefusesMalformedReports(t *testing.T) {
	page := serveSuite(t, &Suite{})
	for name, body := range map[string]string{"none": "", "half": `{"a":`, "too large": `"` + strings.Repeat("x", maxReportBytes) + `"`} {
		if status, _ := request(t, "POST", page+"report", body); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", name, status)
		}
	}
	if status, _ := request(t, "POST", page+"report", "{}"); status != http.StatusNoContent {
		t.Errorf("an unexpected report: %d", status)
	}
}
