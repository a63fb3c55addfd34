package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// derived are the files of the package that are a file of js/ in another form.
var derived = map[string]struct {
	from string
	edit *strings.Replacer
}{
	"index.d.cts":         {"js/index.d.ts", strings.NewReplacer()},
	"polyfill.d.cts":      {"js/polyfill.d.ts", strings.NewReplacer("./index.js", "./index.cjs")},
	"eventsource.d.ts":    {"js/polyfill.d.ts", strings.NewReplacer("export { EventSource } from './index.js';", "export {};")},
	"inline-polyfill.mjs": {"js/polyfill.mjs", strings.NewReplacer("./eventsource.mjs", "./inline.mjs")},
}

// declarations are those of the entries that have no file of their own in js/.
var declarations = map[string]string{
	"inline.d.ts":             "export * from './index.js';\n",
	"inline-polyfill.d.ts":    "export * from './polyfill.js';\n",
	"eventsource.d.mts":       "export * from './index.js';\n",
	"eventsource.worker.d.ts": "export {};\n",
}

// deriveFiles writes what a package has besides the scripts: the declarations and entries that are made of others, and the
// script with the module in it.
func deriveFiles(string) error {
	for name, file := range derived {
		content, err := os.ReadFile(file.from)
		if err != nil {
			return err
		}
		if err := writeDist(name, file.edit.Replace(string(content))); err != nil {
			return err
		}
	}
	for name, content := range declarations {
		if err := writeDist(name, content); err != nil {
			return err
		}
	}
	if err := polyfillForRequire(); err != nil {
		return err
	}
	return inlineAssets()
}

func polyfillForRequire() error {
	entry, err := os.ReadFile("js/polyfill.mjs")
	if err != nil {
		return err
	}
	result := api.Transform(strings.Replace(string(entry), "./eventsource.mjs", "./eventsource.cjs", 1), api.TransformOptions{
		Format: api.FormatCommonJS, Charset: api.CharsetUTF8,
	})
	if len(result.Errors) > 0 {
		return fmt.Errorf("making polyfill.cjs: %s", result.Errors[0].Text)
	}
	return writeDist("polyfill.cjs", string(result.Code))
}

// inlineAssets writes the script that eventsource-wasm/inline imports. The module is compressed in it, since base64 of what
// is not compressed compresses badly.
func inlineAssets() error {
	linked, err := os.ReadFile(filepath.Join(dist, module))
	if err != nil {
		return err
	}
	var compressed bytes.Buffer
	w, err := gzip.NewWriterLevel(&compressed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := writeAll(w, linked); err != nil {
		return err
	}
	worker, err := os.ReadFile(filepath.Join(dist, "eventsource.worker.js"))
	if err != nil {
		return err
	}
	script, _, _ := strings.Cut(string(worker), "\n//# sourceMappingURL=") // it has no address to be relative to
	text, err := json.Marshal(script)
	if err != nil {
		return err
	}
	return writeDist("eventsource.assets.mjs", fmt.Sprintf("export const module = %q;\nexport const worker = %s;\n",
		base64.StdEncoding.EncodeToString(compressed.Bytes()), text))
}

func writeDist(name, content string) error {
	return os.WriteFile(filepath.Join(dist, name), []byte(content), 0o644)
}
