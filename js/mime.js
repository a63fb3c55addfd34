// The MIME type of a response, as wasm/lifecycle/mime.go has it.

export const EVENT_STREAM = 'text/event-stream';

const ESSENCE = /^[ \t\r\n]*([\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+)[ \t\r\n]*$/;

/**
 * The type and subtype, in lower case, of the MIME type that the Fetch Standard's "extract a MIME type" gets from a
 * Content-Type header, or '' if it has none. Of several values the last that is a MIME type counts.
 */
export function essenceOf(contentType) {
  let essence = '';
  for (const value of splitValues(contentType)) {
    const found = ESSENCE.exec(value.split(';', 1)[0])?.[1].toLowerCase();
    if (found && found !== '*/*') essence = found;
  }
  return essence;
}

/** The header's values. A comma in a quoted string is part of a value. */
function splitValues(header) {
  return header.match(/(?:[^",]|"(?:[^"\\]|\\[^])*(?:"|\\?$))+/g) ?? [];
}
