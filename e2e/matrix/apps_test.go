package matrix

// An app is a project from a tool's starter, or one made by hand if the tool has none, with the code of
// docs/getting-started.md. To add a version of a tool, add a line to apps.
type app struct {
	name    string
	section string // of docs/getting-started.md, whose commands and files it takes
	version string // of the starter, instead of "latest"
	create  string // replaces the section's first command

	// files are additional files. Content that names a file of the section stands for that file's content.
	files map[string]string

	modes []mode

	// node is the Node.js version that the tool requires, if it is newer than the oldest that we support.
	node string
	// short marks apps that also run without -all.
	short bool
}

// A mode is a way to serve a project to a browser.
type mode struct {
	name  string
	entry string // of the package, if not the documented one
	build string // a shell command
	serve string // a shell command that serves on 127.0.0.1:$PORT
	out   string // without serve: the folder to serve

	// The expected result, if it is not the Go module, in a worker on request.
	engine   string
	noWorker bool
	reason   string // for the table
}

const inline = "eventsource-wasm/inline"

var vite = []mode{
	{name: "development server", serve: "npx vite --host 127.0.0.1 --port $PORT --strictPort"},
	{name: "build", build: "npm run build", out: "dist"},
}

// notCopied adapts a mode to tools that do not copy the files that a script loads by import.meta.url.
func notCopied(m mode) mode {
	m.engine, m.noWorker = "script", true
	m.reason = "does not copy the files: import `eventsource-wasm/inline`, or copy `eventsource.wasm` and `eventsource.worker.js` to the folder of the script"
	return m
}

func withInline(m mode) mode {
	m.name += ", `eventsource-wasm/inline`"
	m.entry = inline
	return m
}

// vanilla is a page without a framework, for tools without a starter.
const vanilla = `import { EventSource } from "eventsource-wasm";

const source = new EventSource("http://localhost:8080/events?topic=clock", { headers: { Authorization: "Bearer secret" } });
source.onmessage = (event) => { document.body.textContent = "It is " + event.data; };
`

const document = `<!doctype html>
<html><head><title>An app</title><link rel="icon" href="data:,"></head><body><script type="module" src="%s"></script></body></html>
`

func byHand(dependencies string) string {
	return `mkdir my-app && echo '{ "private": true, "type": "module" }' > my-app/package.json && cd my-app && npm install --save-dev ` + dependencies
}

var (
	esbuildDev    = mode{name: "development server", serve: "npx esbuild src/index.js --bundle --format=esm --outdir=out --servedir=. --serve=127.0.0.1:$PORT"}
	esbuildBuild  = mode{name: "build", build: "npx esbuild src/index.js --bundle --format=esm --outdir=out", out: "."}
	esbuildSplit  = mode{name: "build, `--splitting`", build: "npx esbuild src/index.js --bundle --splitting --format=esm --outdir=out", out: "."}
	rollupBuild   = mode{name: "build", build: "rm -rf out && npx rollup src/index.js --dir out --format es --plugin node-resolve", out: "."}
	angularServe  = mode{name: "development server", serve: "npx ng serve --host 127.0.0.1 --port $PORT"}
	angularBuild  = mode{name: "build", build: "npx ng build", out: "dist/my-app/browser"}
	angularScript = mode{name: "build, `eventsource-wasm`", entry: "eventsource-wasm", build: "npx ng build", out: "dist/my-app/browser"}
)

var apps = []app{
	{name: "Vite 5, React 18", section: "React", version: "5.5.4", modes: vite, short: true},
	{name: "Vite 6, Vue", section: "Vue", version: "6.5.0", modes: vite},
	{name: "Vite 7, Svelte", section: "Svelte", version: "7.1.2", modes: vite},
	{name: "Vite 8, React", section: "React", version: "9.3.0", modes: vite},
	{name: "Vite 8, Vue", section: "Vue", version: "9.3.0", modes: vite},
	{name: "Vite 8, Svelte", section: "Svelte", version: "9.3.0", modes: vite},
	{
		name: "SvelteKit 2", create: "npx sv@0.17.1 create my-app --template minimal --types ts --no-add-ons --install npm",
		section: "Svelte", files: map[string]string{"src/routes/+page.svelte": "src/App.svelte"},
		node: "24.21.0",
		modes: []mode{
			vite[0],
			{name: "build", build: "npx vite build", serve: "npx vite preview --host 127.0.0.1 --port $PORT --strictPort"},
		},
	},
	{
		name: "webpack 5", create: byHand("webpack@5.112.2 webpack-cli@7.3.1 webpack-dev-server@6.1.0 html-webpack-plugin@5.6.8"), short: true,
		files: map[string]string{
			"src/index.js": vanilla,
			"webpack.config.js": `import HtmlWebpackPlugin from "html-webpack-plugin";
export default { plugins: [new HtmlWebpackPlugin()] };
`,
		},
		modes: []mode{
			{name: "development server", serve: "npx webpack serve --mode development --host 127.0.0.1 --port $PORT"},
			{name: "build", build: "npx webpack --mode production", out: "dist"},
		},
	},
	{
		name: "Rspack 2, React", section: "React", create: "npx create-rspack@2.2.3 --dir my-app --template react-ts", node: "24.21.0",
		modes: []mode{
			{name: "development server", serve: "npx rspack dev --host 127.0.0.1 --port $PORT"},
			{name: "build", build: "npx rspack build", out: "dist"},
		},
	},
	{
		name: "Rollup 4", create: byHand("rollup@4.68.8 @rollup/plugin-node-resolve@16.0.3"), short: true,
		files: map[string]string{"src/index.js": vanilla, "index.html": pageWith("out/index.js")},
		modes: []mode{notCopied(rollupBuild), withInline(rollupBuild)},
	},
	{
		name: "esbuild 0.28", create: byHand("esbuild@0.28.2"),
		files: map[string]string{"src/index.js": vanilla, "index.html": pageWith("out/index.js")},
		modes: []mode{notCopied(esbuildDev), notCopied(esbuildBuild), withInline(esbuildBuild), withInline(esbuildSplit)},
	},
	{
		name: "Parcel 2", create: byHand("parcel@2.16.4"),
		files: map[string]string{"src/index.js": vanilla, "index.html": pageWith("src/index.js")},
		modes: []mode{
			{name: "development server", serve: "npx parcel serve index.html --host 127.0.0.1 --port $PORT"},
			{name: "build", build: "npx parcel build index.html --dist-dir out", out: "out"},
		},
	},
	{
		name: "Next.js 16", section: "Next.js", version: "16.4.3",
		files: map[string]string{"app/useEventSource.ts": "src/useEventSource.ts", "app/layout.tsx": nextLayout},
		modes: []mode{
			{name: "development server, Turbopack", serve: "npx next dev --hostname 127.0.0.1 --port $PORT"},
			{name: "build, Turbopack", build: "npx next build", serve: "npx next start --hostname 127.0.0.1 --port $PORT"},
			{name: "development server, webpack", serve: "npx next dev --webpack --hostname 127.0.0.1 --port $PORT"},
			{name: "build, webpack", build: "npx next build --webpack", serve: "npx next start --hostname 127.0.0.1 --port $PORT"},
		},
	},
	{
		name: "Angular 22", section: "Angular", version: "22.2.7", node: "24.21.0",
		modes: []mode{angularServe, angularBuild, notCopied(angularScript)},
	},
	{
		name: "Nuxt 4", create: byHand("nuxt@4.5.2"), node: "24.21.0",
		files: map[string]string{"app/app.vue": nuxtPage},
		modes: []mode{
			{name: "development server", serve: "npx nuxt dev --host 127.0.0.1 --port $PORT"},
			{name: "build", build: "npx nuxt build", serve: "HOST=127.0.0.1 node .output/server/index.mjs"},
		},
	},
}

// nuxtPage is the Vue page, adapted to server-side rendering.
const nuxtPage = `<script setup lang="ts">
import { EventSource } from "eventsource-wasm";

const time = ref("");
let source: EventSource | undefined;
onMounted(() => {
  source = new EventSource("http://localhost:8080/events?topic=clock", { headers: { Authorization: "Bearer secret" } });
  source.onmessage = (event) => {
    time.value = event.data;
  };
});
onUnmounted(() => source?.close());
</script>

<template>
  <p>It is {{ time }}</p>
</template>
`

// nextLayout is the starter's layout without its fonts, which come from another site.
const nextLayout = `export default function RootLayout({ children }: { children: React.ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
`
