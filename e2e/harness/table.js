// Shows the report of a run as a page, both during the run and later from its file.

const titles = { native: 'Native', wasm: 'eventsource-wasm' };
const names = { as: 'asTheStandard', explained: 'explained', unexplained: 'unexplained', unfinished: 'unfinished' };
const kinds = { as: 'as the standard', explained: 'known differences', unexplained: 'unknown differences', unfinished: 'unfinished' };

export class Table {
  #report;
  #articles = new Map();

  /** Shows the report, which may still lack results. */
  constructor(report) {
    this.#report = report;
    element('browser').textContent = `${report.browser}, ${report.date}`;
    element('groups').replaceChildren(...report.files.map((file) => this.#section(file)));
    this.#showTotals();
    this.#addFilters();
    element(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
  }

  /** Adds a result to the report and shows it. */
  add(scenario, implementation, result) {
    scenario.results[implementation] = result;
    this.#report.totals = count(this.#report);
    this.#showTotals();
    this.#fill(scenario);
  }

  #addFilters() {
    const [differing, group] = [element('differing'), element('group')];
    const chosen = group.value;
    group.replaceChildren(...['', ...this.#report.files.map(({ name }) => name)].map((value) => make('option', { value }, value || 'all')));
    const filter = () => {
      document.body.classList.toggle('differing', differing.checked);
      for (const section of element('groups').children) section.hidden = group.value !== '' && section.dataset.group !== group.value;
    };
    group.value = chosen;
    differing.onchange = group.onchange = filter;
    filter();
  }

  #section({ name, scenarios }) {
    const articles = scenarios.map((scenario) => {
      const article = make('article', { id: `${name}/${scenario.name}` });
      this.#articles.set(scenario, article);
      this.#fill(scenario);
      return article;
    });
    const section = make('section', {}, make('h2', { id: name }, name), ...articles);
    section.dataset.group = name;
    return section;
  }

  #fill(scenario) {
    const article = this.#articles.get(scenario);
    const { implementations } = this.#report;
    const outcomes = implementations.map((implementation) => outcome(scenario.results[implementation]));
    article.className = outcomes.every((outcome) => outcome === 'none' || outcome === 'as') ? 'same' : '';
    article.replaceChildren(
      make('h3', {}, make('a', { href: `#${encodeURIComponent(article.id)}` }, scenario.name)),
      details(`Standard: ${scenario.standard}`, scenario.expect),
      make('div', { className: 'results' }, ...implementations.map((implementation) => cell(scenario, implementation))),
    );
  }

  #showTotals() {
    const { totals, implementations } = this.#report;
    element('totals').replaceChildren(...implementations.map((implementation) => make('section', { className: 'panel' },
      make('h2', {}, title(implementation)),
      make('dl', {}, ...Object.entries(names).map(([kind, name]) => {
        const number = totals[implementation][name] ?? 0;
        return make('div', {}, make('dt', {}, kinds[kind]), make('dd', { className: number ? kind : 'quiet' }, number));
      })),
    )));
  }
}

/** Counts the results of each implementation by outcome. */
export function count({ implementations, files }) {
  return Object.fromEntries(implementations.map((implementation) => {
    const totals = { asTheStandard: 0, explained: 0, unexplained: 0, unfinished: 0 };
    for (const { results } of files.flatMap(({ scenarios }) => scenarios)) {
      if (results[implementation]) totals[names[outcome(results[implementation])]]++;
    }
    return [implementation, totals];
  }));
}

function outcome(result) {
  if (!result) return 'none';
  if (result.unfinished) return 'unfinished';
  if (result.failure) return 'unexplained';
  return result.reason ? 'explained' : 'as';
}

function cell({ only, leftOut, results }, implementation) {
  const result = results[implementation];
  return make('div', {}, make('b', {}, `${title(implementation)}: `), ...said());

  function said() {
    switch (outcome(result)) {
      case 'none':
        return [make('span', { className: 'quiet' }, leftOut ?? (only && only !== implementation ? 'not applicable' : 'not run yet'))];
      case 'as':
        return [mark('as', '✓ as the standard')];
      case 'explained':
        return [mark('explained', '≠ known difference'), make('p', { className: 'quiet' }, result.reason), details('What happened', result.trace)];
      case 'unexplained':
        return [mark('unexplained', '✗ unknown difference'), make('pre', {}, result.failure)];
      case 'unfinished':
        return [mark('unfinished', '… unfinished'), make('p', { className: 'quiet' }, result.failure)];
    }
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
