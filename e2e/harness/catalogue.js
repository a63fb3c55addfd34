import * as files from '../scenarios/index.js';

/** What is to be known of a scenario without running it. */
export const catalogue = Object.entries(files).flatMap(([file, scenarios]) =>
  scenarios.map(({ name, standard, only = '', leftOut = {}, console = [], alone = '', expect }) => (
    { file, name, standard, only, leftOut, console, alone, expect }
  )),
);
