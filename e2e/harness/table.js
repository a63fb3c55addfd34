// The report of a run as a table that anyone can read: while it is made, and later from its file.

const titles = { native: 'Native', wasm: 'eventsource-wasm' };

export class Table {
  #report;
  #rows = new Map();

  /** Shows the report, which may still lack results. */
  constructor(report) {
    this.#report = report;
    element('browser').textContent = `${report.browser}, ${report.date}`;
    const differing = element('differing');
    differing.onchange = () => document.body.classList.toggle('differing', differing.checked);
    document.querySelector('main').replaceChildren(...report.files.map((file) => this.#section(file)));
    this.#showTotals();
  }

  /** Adds a result to the report and shows it. */
  add(scenario, implementation, result) {
    scenario.results[implementation] = result;
    this.#report.totals = count(this.#report);
    this.#showTotals();
    this.#fill(scenario);
  }

  #section({ name, scenarios }) {
    const rows = scenarios.map((scenario) => {
      const row = make('tr', {});
      this.#rows.set(scenario, row);
      this.#fill(scenario);
      return row;
    });
    const heads = ['Scenario', 'The standard', ...this.#report.implementations.map(title)];
    const head = make('tr', {}, ...heads.map((text) => make('th', {}, text)));
    return make('section', {}, make('h2', { id: name }, name), make('table', {}, head, ...rows));
  }

  #fill(scenario) {
    const row = this.#rows.get(scenario);
    const { implementations } = this.#report;
    const outcomes = implementations.map((implementation) => outcome(scenario.results[implementation]));
    row.className = outcomes.some((outcome) => outcome === 'explained' || outcome === 'unexplained') ? '' : 'same';
    row.replaceChildren(
      make('td', {}, scenario.name),
      make('td', {}, make('small', {}, scenario.standard), details('expects', scenario.expect)),
      ...implementations.map((implementation) => cell(scenario, implementation)),
    );
  }

  #showTotals() {
    const { totals, implementations } = this.#report;
    const heads = ['', 'as the standard', 'differs, for a known reason', 'differs, unexplained'];
    const rows = implementations.map((implementation) => {
      const { asTheStandard, explained, unexplained } = totals[implementation];
      return make('tr', {},
        make('th', {}, title(implementation)),
        make('td', { className: 'as' }, asTheStandard),
        make('td', { className: 'explained' }, explained),
        make('td', { className: unexplained ? 'unexplained' : '' }, unexplained),
      );
    });
    element('totals').replaceChildren(make('tr', {}, ...heads.map((text) => make('th', {}, text))), ...rows);
  }
}

/** How many results of each implementation are of each outcome. */
export function count({ implementations, files }) {
  const names = { as: 'asTheStandard', explained: 'explained', unexplained: 'unexplained' };
  return Object.fromEntries(implementations.map((implementation) => {
    const totals = { asTheStandard: 0, explained: 0, unexplained: 0 };
    for (const { results } of files.flatMap(({ scenarios }) => scenarios)) {
      if (results[implementation]) totals[names[outcome(results[implementation])]]++;
    }
    return [implementation, totals];
  }));
}

function outcome(result) {
  if (!result) return 'none';
  if (result.failure) return 'unexplained';
  return result.reason ? 'explained' : 'as';
}

function cell({ only, leftOut, results }, implementation) {
  const result = results[implementation];
  switch (outcome(result)) {
    case 'none':
      return make('td', {}, make('small', {}, leftOut ?? (only && only !== implementation ? 'not for it' : '')));
    case 'as':
      return make('td', { className: 'as' }, '✓ as expected');
    case 'explained':
      return make('td', {}, mark('explained', '≠ differs'), make('p', {}, result.reason), make('pre', {}, result.trace.join('\n')));
    case 'unexplained':
      return make('td', {}, mark('unexplained', '✗ unexplained'), make('pre', {}, result.failure));
  }
}

const mark = (className, text) => make('span', { className }, text);

const details = (summary, lines) => make('details', {}, make('summary', {}, summary), make('pre', {}, lines.join('\n')));

const title = (implementation) => titles[implementation] ?? implementation;

const element = (id) => document.getElementById(id);

function make(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
