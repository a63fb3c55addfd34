// Runs the scenarios in the browser that opens the page, each in its own frame and lab. The query has the parameters:
//   implementation=native&implementation=wasm   the default is these two; others are URLs of scripts, as in the page's field
//   file=parsing                                only these files of scenarios
//   run                                         start without a click
//   report                                      send the report to the server at the end
import { catalogue } from './catalogue.js';
import { engine } from './engine.js';
import { Table, count } from './table.js';

const query = new URLSearchParams(location.search);
const chosen = (name, all) => (query.has(name) ? query.getAll(name) : all);

// WebKitGTK opens seventeen connections in total, and a run may need eight.
const framesAtATime = engine === 'webkit' ? 2 : 4;

// The limit for a run, in milliseconds: many times the duration of the slowest so far, and less than the server waits.
const LEAST = 50_000, MOST = 160_000, TIMES = 10;

const [run, going, progress, status, download, stage, script] =
  ['run', 'going', 'progress', 'status', 'download', 'stage', 'script'].map((id) => document.getElementById(id));

function emptyReport() {
  const names = [...new Set(catalogue.map(({ file }) => file))];
  const report = {
    browser: navigator.userAgent,
    engine,
    date: new Date().toISOString().slice(0, 10),
    implementations: [...new Set([...chosen('implementation', ['native', 'wasm']), ...(script.value ? [script.value] : [])])],
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
  const begun = performance.now();
  const slowest = { ms: 0 };
  const worker = async () => {
    for (let run; (run = runs.shift()); progress.value++) {
      showProgress(begun);
      const result = await measured(slowest, () => runOne(run, limitAfter(slowest)));
      table.add(run.scenario, run.implementation, result);
    }
  };
  await Promise.all(Array.from({ length: framesAtATime }, worker));
}

const limitAfter = ({ ms }) => Math.min(Math.max(LEAST, TIMES * ms), MOST);

/** The result of a run. Its duration counts if it finished. */
async function measured(slowest, run) {
  const begun = performance.now();
  const result = await run().catch((error) => ({ trace: [], unfinished: true, failure: `The run did not start: ${error.message}` }));
  if (!result.unfinished) slowest.ms = Math.max(slowest.ms, performance.now() - begun);
  return result;
}

function showProgress(begun) {
  const { value, max } = progress;
  const seconds = ((performance.now() - begun) / 1000 / value) * (max - value);
  const left = value < 10 ? '' : seconds < 90 ? `, about ${Math.ceil(seconds / 5) * 5} s left` : `, about ${Math.round(seconds / 60)} min left`;
  status.textContent = `${value} of ${max}${left}`;
}

async function runOne({ file, scenario: { name }, implementation }, limit) {
  const lab = await request('labs', { method: 'POST' });
  const frame = document.createElement('iframe');
  const parameters = { control: lab.origins.control, file, name, implementation, limit };
  frame.src = `${lab.origins.A}/harness/run.html?${new URLSearchParams(parameters)}`;
  stage.append(frame);
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
  if (!script.reportValidity()) return;
  const report = emptyReport();
  const table = new Table(report);
  [run.hidden, going.hidden, download.hidden, progress.value] = [true, false, true, 0];
  await runAll(report, table);
  const json = JSON.stringify(report, null, 2);
  if (query.has('report')) await fetch('report', { method: 'POST', body: json });
  download.href = URL.createObjectURL(new Blob([json], { type: 'application/json' }));
  [run.hidden, going.hidden, download.hidden] = [false, true, false];
}

new Table(emptyReport());
run.onclick = start;
run.hidden = false;
if (query.has('run')) start();
