// Made when they are first used: a script can be loaded where they are missing, as in jsdom.
let encoder;
let decoder;

/** The string as UTF-8. */
export const encode = (text) => (encoder ??= new TextEncoder()).encode(text);

/** "Streams must be decoded using the UTF-8 decode algorithm", but for the byte order mark, which the parsers look after. */
export const decode = (bytes) => (decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })).decode(bytes);
