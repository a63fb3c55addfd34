package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

// oldest are the oldest supported browsers, as in package.json and in the documentation.
var oldest = []api.Engine{
	{Name: api.EngineChrome, Version: "94"}, {Name: api.EngineEdge, Version: "94"}, {Name: api.EngineFirefox, Version: "93"},
	{Name: api.EngineSafari, Version: "16.4"}, {Name: api.EngineIOS, Version: "16.4"},
}

var engineNames = map[api.EngineName]string{
	api.EngineChrome: "chrome", api.EngineEdge: "edge", api.EngineFirefox: "firefox", api.EngineSafari: "safari", api.EngineIOS: "ios_saf",
}

func TestOldestBrowsersInPackage(t *testing.T) {
	text, err := os.ReadFile("../package.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct{ Browserslist []string }
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, engine := range oldest {
		want = append(want, engineNames[engine.Name]+" >= "+engine.Version)
	}
	if got := strings.Join(manifest.Browserslist, ", "); got != strings.Join(want, ", ") {
		t.Errorf("package.json names %s, want %s", got, strings.Join(want, ", "))
	}
}

// The scripts use no syntax that the oldest browsers lack: with those as its target, esbuild replaces nothing.
func TestSyntaxOfOldestBrowsers(t *testing.T) {
	for _, entry := range []string{"../classic.js", "../module.js", "../worker.js", "../inline.js"} {
		plain, old := bundleFor(t, entry, api.ESNext, nil), bundleFor(t, entry, api.DefaultTarget, oldest)
		if plain != old {
			t.Errorf("%s has syntax that one of %v lacks", entry, oldest)
		}
	}
}

func bundleFor(t *testing.T, entry string, target api.Target, engines []api.Engine) string {
	t.Helper()
	result := api.Build(api.BuildOptions{
		EntryPoints: []string{entry}, Bundle: true, Format: api.FormatESModule, Target: target, Engines: engines,
		External: []string{"wasm_exec.js", "./eventsource.assets.mjs"}, Define: map[string]string{"__BUILD__": `""`},
	})
	if len(result.Errors) > 0 {
		t.Fatalf("bundling %s: %v", entry, result.Errors)
	}
	return string(result.OutputFiles[0].Contents)
}

// newer has uses of interfaces that one of the oldest browsers lacks. A script must check for such an interface before using
// it.
var newer = map[string]string{
	"Array.fromAsync": "Chrome 121", ".toSorted(": "Chrome 110", ".toReversed(": "Chrome 110", ".findLast(": "Chrome 97", ".with(": "Chrome 110",
	"Object.groupBy": "Chrome 117", "Promise.withResolvers": "Chrome 119", "AbortSignal.any": "Chrome 116", "AbortSignal.timeout": "Chrome 103",
	"URL.canParse": "Chrome 120", "URL.parse": "Chrome 126", "structuredClone": "Chrome 98", "scheduler.": "Chrome 94, not Safari",
	"navigator.locks.": "Firefox 96", "Uint8Array.fromBase64": "Chrome 140", ".isWellFormed(": "Chrome 111", ".toWellFormed(": "Chrome 111",
	"Set.prototype.union": "Chrome 122", "Iterator.": "Chrome 122", ".throwIfAborted(": "Chrome 100", "Promise.try": "Chrome 128",
	".transferToFixedLength(": "Chrome 114", "for await (const chunk of response.body": "Chrome 124",
}

func TestInterfacesOfOldestBrowsers(t *testing.T) {
	comments := regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*`)
	for _, entry := range []string{"../classic.js", "../module.js", "../worker.js"} {
		script := comments.ReplaceAllString(bundleFor(t, entry, api.ESNext, nil), "")
		for use, since := range newer {
			if strings.Contains(script, use) {
				t.Errorf("%s uses %s, which requires %s", entry, use, since)
			}
		}
	}
}
