import { randomInt } from 'node:crypto';

const ADJECTIVES: readonly string[] = (
  'agile amber ample apt avid balmy bold breezy brisk calm candid cheery civil clear cosy crisp curious daring deft ' +
  'eager earnest fair fleet fond frank fresh gentle giddy glad golden grand hardy hearty humble jolly keen kind lively ' +
  'loyal lucid mellow merry mild modest neat nimble noble patient placid plucky polite proud quick quiet ready ' +
  'robust rosy serene sharp silent snug solid sound spry steady sunny supple swift tidy tranquil true upbeat vivid ' +
  'warm wise witty zesty'
).split(' ');

/** Surnames of people who moved science and engineering on. */
const SURNAMES: readonly string[] = (
  'abel agnesi ampere archimedes bardeen bell bernoulli bohr boole borlaug bose braille brunel cantor carson cerf ' +
  'chandrasekhar clarke cori curie darwin dirac edison einstein erdos euclid euler faraday fermat fermi feynman ' +
  'fourier franklin galileo galois gauss germain goodall hamilton hawking herschel hertz hilbert hodgkin hopper ' +
  'huygens hypatia jacquard joule kepler khorana kirch knuth kovalevskaya lamarr laplace lavoisier leibniz linnaeus ' +
  'lovelace maxwell mcclintock meitner mendel mendeleev mirzakhani morse newton nobel noether ohm pascal pasteur ' +
  'planck poincare ramanujan riemann ritchie rubin sagan shannon sinoussi somerville tesla thompson torvalds turing ' +
  'volta watt wiles wright wu yonath yukawa zuse'
).split(' ');

/** A name for a container that was given none, such as `keen_hopper`; `isTaken` says which are in use. */
export function randomName(isTaken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt += 1) {
    const base = `${pick(ADJECTIVES)}_${pick(SURNAMES)}`;
    // after a few misses the space is crowded: a growing number makes sure that the search ends
    const name = attempt < 6 ? base : `${base}${randomInt(10 ** Math.min(attempt - 4, 9))}`;
    if (!isTaken(name)) return name;
  }
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)] ?? 'plain';
}
