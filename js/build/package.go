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

// derived has files of the package that are made from a file in js/ by replacing text.
var derived = map[string]struct {
	from string
	edit *strings.Replacer
}{
	"index.d.cts":         {"js/index.d.ts", strings.NewReplacer()},
	"polyfill.d.cts":      {"js/polyfill.d.ts", strings.NewReplacer("./index.js", "./index.cjs")},
	"eventsource.d.ts":    {"js/polyfill.d.ts", strings.NewReplacer("export { EventSource } from './index.js';", "export {};")},
	"inline-polyfill.mjs": {"js/polyfill.mjs", strings.NewReplacer("./eventsource.mjs", "./inline.mjs")},
}

// declarations has the type declarations that have no file in js/.
var declarations = map[string]string{
	"inline.d.ts":             "export * from './index.js';\n",
	"inline-polyfill.d.ts":    "export * from './polyfill.js';\n",
	"eventsource.d.mts":       "export * from './index.js';\n",
	"eventsource.worker.d.ts": "export {};\n",
}

// deriveFiles writes the derived files, the declarations, and the script that contains the module.
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

// inlineAssets writes the script that eventsource-wasm/inline imports. It contains the module compressed, because base64 of an
// uncompressed module would compress badly.
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
	script, _, _ := strings.Cut(string(worker), "\n//# sourceMappingURL=") // a blob: script has no URL for it to be relative to
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
