// Created on first use, so that the script loads where they are missing, as in jsdom.
let encoder;
let decoder;

/** Encodes a string as UTF-8. */
export const encode = (text) => (encoder ??= new TextEncoder()).encode(text);

/** "Streams must be decoded using the UTF-8 decode algorithm". The parsers remove the byte order mark. */
export const decode = (bytes) => (decoder ??= new TextDecoder('utf-8', { ignoreBOM: true })).decode(bytes);
