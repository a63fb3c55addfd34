// Package static serves the pages and scripts of the commands in server/cmd.
package static

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// mediaTypes replaces the system's table of types, which differs between machines.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".mjs":  "text/javascript; charset=utf-8",
	".ts":   "text/plain; charset=utf-8", // a browser shows it, and saves application/typescript
	".json": "application/json",
	".map":  "application/json",
	".wasm": "application/wasm",
	".svg":  "image/svg+xml",
	".png":  "image/png",
}

// Encodings are the content codings of files that make build compresses, the smallest first.
var Encodings = []struct{ Name, Suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// Accepts reports whether the value of Accept-Encoding names the encoding, with a weight other than zero.
func Accepts(accept, encoding string) bool {
	for element := range strings.SplitSeq(accept, ",") {
		name, weight, _ := strings.Cut(element, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ToLower(strings.TrimSpace(weight)), "q="), 64)
		return err != nil || q > 0
	}
	return false
}

// A Content is served at one or more URLs. Its handler sends it, or 304 if the browser has it.
type Content struct {
	bytes          []byte
	mediaType, tag string
}

// NewContent returns the content of a file. The extension of name decides the media type.
func NewContent(name string, content []byte) *Content {
	mediaType := mediaTypes[path.Ext(name)]
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	sum := sha256.Sum256(content)
	return &Content{content, mediaType, `"` + hex.EncodeToString(sum[:16]) + `"`}
}

// ServeHTTP sends the content. File names do not change with the content, so browsers must revalidate every time.
func (c *Content) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", c.mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", c.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.bytes))
}

// ServeContent serves a [Content] that is used once. It hashes all of it, so keep a Content if it may be requested often.
func ServeContent(w http.ResponseWriter, r *http.Request, name string, content []byte) {
	NewContent(name, content).ServeHTTP(w, r)
}

// These work for our own pages, which have no "<script" or "<style" in comments or attributes.
var (
	inlineScript = regexp.MustCompile(`(?is)<script\b[^>]*>(.*?)</script`)
	inlineStyle  = regexp.MustCompile(`(?is)<style\b[^>]*>(.*?)</style`)
)

// ScriptHashes returns the sources of a Content-Security-Policy that permit the inline scripts of a page. Each begins with a
// space.
func ScriptHashes(page []byte) string { return hashes(page, inlineScript) }

// StyleHashes is [ScriptHashes] for the page's style elements.
func StyleHashes(page []byte) string { return hashes(page, inlineStyle) }

func hashes(page []byte, element *regexp.Regexp) string {
	// A browser hashes the text it parsed, in which every line end is LF.
	page = bytes.ReplaceAll(page, []byte("\r\n"), []byte("\n"))
	var sources strings.Builder
	for _, match := range element.FindAllSubmatch(page, -1) {
		if len(match[1]) == 0 {
			continue
		}
		sum := sha256.Sum256(match[1])
		sources.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'")
	}
	return sources.String()
}
