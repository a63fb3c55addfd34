import * as files from '../scenarios/index.js';

/** All scenarios, without their functions. */
export const catalogue = Object.entries(files).flatMap(([file, scenarios]) =>
  scenarios.map(({ name, standard, only = '', leftOut = {}, console = [], alone = '', expect }) => (
    { file, name, standard, only, leftOut, console, alone, expect }
  )),
);
