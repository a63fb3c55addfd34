package static

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func TestScriptHashes(t *testing.T) {
	tests := map[string]struct {
		page    string
		scripts []string
	}{
		"none":          {"<p>script</p>", nil},
		"external only": {`<script src="a.js"></script><p></p><script src=b.js></script>`, nil},
		"several":       {"<script>a</script>\n<script type=module>\nb\n</script>", []string{"a", "\nb\n"}},
		"upper case":    {"<SCRIPT>a</SCRIPT >", []string{"a"}},
		"line ends":     {"<script>a\r\nb</script>", []string{"a\nb"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var want strings.Builder
			for _, script := range test.scripts {
				want.WriteString(" 'sha256-" + hash(script) + "'")
			}
			if got := ScriptHashes([]byte(test.page)); got != want.String() {
				t.Errorf("got %q, want %q", got, want.String())
			}
		})
	}
}

func TestStyleHashes(t *testing.T) {
	const page = "<style>a</style><script>b</script>\n<STYLE media=print>\r\nc</STYLE>"
	if got, want := StyleHashes([]byte(page)), " 'sha256-"+hash("a")+"' 'sha256-"+hash("\nc")+"'"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAccepts(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "br": true, "gzip, BR": true, "br;q=0": false, "br;q=0.0": false, "br; q=0.1": true, "br;Q=0": false, "brotli": false, "x-br": false, "*": false,
	} {
		if got := Accepts(accept, "br"); got != want {
			t.Errorf("%q: %v, want %v", accept, got, want)
		}
	}
}

func TestServeContent(t *testing.T) {
	get := func(name, content, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		ServeContent(w, r, name, []byte(content))
		return w
	}
	first := get("a.wasm", "one", "")
	header := first.Header()
	if first.Body.String() != "one" || header.Get("Content-Type") != "application/wasm" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%q, headers %v", first.Body, header)
	}
	if again := get("a.wasm", "one", header.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("status %d, %q", again.Code, again.Body)
	}
	if changed := get("a.wasm", "two", header.Get("ETag")); changed.Code != http.StatusOK || changed.Body.String() != "two" {
		t.Errorf("status %d, %q", changed.Code, changed.Body)
	}
	if other := get("LICENSE", "MIT", "").Header().Get("Content-Type"); other != "application/octet-stream" {
		t.Errorf("type %q", other)
	}
}
