// Runs the scenarios in the browser that opens the page, each in a frame and a lab of its own. The query says on what:
//   implementation=native&implementation=wasm   those two are the default; any other is the URL of a script
//   file=parsing                                only these files of scenarios
//   run                                         at once, without a click
//   report                                      and then tell the server
import { catalogue } from './catalogue.js';
import { engine } from './engine.js';
import { Table, count } from './table.js';

const query = new URLSearchParams(location.search);
const chosen = (name, all) => (query.has(name) ? query.getAll(name) : all);

// WebKitGTK opens seventeen connections in all, of which a run may hold eight.
const framesAtATime = engine === 'webkit' ? 2 : 4;

const [run, progress, download, frames] = ['run', 'progress', 'download', 'frames'].map((id) => document.getElementById(id));

function emptyReport() {
  const names = [...new Set(catalogue.map(({ file }) => file))];
  const report = {
    browser: navigator.userAgent,
    engine,
    date: new Date().toISOString().slice(0, 10),
    implementations: chosen('implementation', ['native', 'wasm']),
    files: chosen('file', names).map((name) => ({ name, scenarios: catalogue.filter(({ file }) => file === name).map(reported) })),
  };
  report.totals = count(report);
  return report;
}

const reported = ({ name, standard, only, leftOut, expect }) => (
  { name, standard, only, leftOut: leftOut[engine], expect, results: {} }
);

async function runAll(report, table) {
  const runs = report.files.flatMap(({ name: file, scenarios }) =>
    scenarios.flatMap((scenario) => report.implementations
      .filter((implementation) => !scenario.leftOut && (!scenario.only || scenario.only === implementation))
      .map((implementation) => ({ file, scenario, implementation }))));
  progress.max = runs.length;
  const worker = async () => {
    for (let run; (run = runs.shift()); progress.value++) {
      table.add(run.scenario, run.implementation, await runOne(run).catch((error) => ({ trace: [], failure: String(error) })));
    }
  };
  await Promise.all(Array.from({ length: framesAtATime }, worker));
}

async function runOne({ file, scenario: { name }, implementation }) {
  const lab = await request('labs', { method: 'POST' });
  const frame = document.createElement('iframe');
  const parameters = { control: lab.origins.control, file, name, implementation };
  frame.src = `${lab.origins.A}/harness/run.html?${new URLSearchParams(parameters)}`;
  frames.append(frame);
  try {
    return await request(`labs/${lab.number}/result`);
  } finally {
    frame.remove();
    await fetch(`labs/${lab.number}`, { method: 'DELETE' });
  }
}

async function request(url, init) {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function start() {
  const report = emptyReport();
  const table = new Table(report);
  [run.hidden, progress.hidden, download.hidden, progress.value] = [true, false, true, 0];
  await runAll(report, table);
  const json = JSON.stringify(report, null, 2);
  if (query.has('report')) await fetch('report', { method: 'POST', body: json });
  download.href = URL.createObjectURL(new Blob([json], { type: 'application/json' }));
  [run.hidden, progress.hidden, download.hidden] = [false, true, false];
}

new Table(emptyReport());
run.onclick = start;
run.hidden = false;
if (query.has('run')) start();
