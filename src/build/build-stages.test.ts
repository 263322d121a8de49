import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PlanOptions, planStages, type StagePlan, splitWords } from './build-stages.ts';
import { parseDockerfile } from './dockerfile-parser.ts';

function plan(text: string, options: Partial<PlanOptions> = {}): StagePlan {
  return planStages(parseDockerfile(text, 'Dockerfile'), {
    buildArgs: {},
    target: undefined,
    platformArgs: { TARGETARCH: 'amd64' },
    contexts: [],
    ...options,
  });
}

const THREE = `FROM bb AS one
FROM bb AS Two
COPY --from=one /a /a
FROM bb AS unused
FROM one
RUN --mount=type=bind,from=two,target=/t true
COPY --from=other/image /x /y`;

test('only the stages that the target needs are built', () => {
  assert.deepEqual(plan(THREE).wanted, [0, 1, 3]);
  assert.deepEqual(plan(THREE, { target: 'two' }).wanted, [0, 1]);
  assert.deepEqual(plan(THREE, { target: '0' }).wanted, [0]);
  assert.deepEqual(plan(THREE, { target: 'UNUSED' }).wanted, [2]);
  assert.deepEqual(plan('FROM bb AS a\nFROM bb\nCOPY --from=0 / /', {}).wanted, [0, 1]);
  // A named context stands in for the stage.
  assert.deepEqual(plan(THREE, { target: 'two', contexts: ['one'] }).wanted, [1]);
});

test('FROM: arguments from before it, platforms, stages as bases', () => {
  const { stages } = plan('ARG V=1\nARG B=img:$V\nFROM --platform=linux/$TARGETARCH $B AS x\nFROM X', {
    buildArgs: { V: '2' },
  });
  assert.deepEqual(
    stages.map(({ base, platform, baseStage }) => [base, platform, baseStage]),
    [
      ['img:2', 'linux/amd64', undefined],
      ['X', undefined, 0],
    ],
  );
});

test('what is wrong with the stages points at the line', () => {
  for (const [text, message] of [
    ['RUN true\nFROM bb', /Dockerfile:1:1: no build stage/],
    ['FROM bb x', /either one or three arguments/],
    ['FROM bb AS 1a', /invalid name for build stage/],
    ['FROM bb AS a\nFROM bb AS A', /Dockerfile:2:1: there are two build stages/],
    ['FROM $NOTHING', /should not be blank/],
    ['FROM --nope=1 bb', /unknown flag: --nope/],
    ['FROM bb AS a\nCOPY --from=b / /\nFROM bb AS b', /Dockerfile:2:1: circular/],
    ['FROM bb\nRUN --mount=type=what,target=/x true', /unsupported mount type/],
  ] as const)
    assert.throws(() => plan(text), message, text);
  assert.throws(() => plan(THREE, { target: 'four' }), /target stage "four" could not be found/);
});

test('words keep their quotes', () => {
  assert.deepEqual(splitWords(`a="b c" 'd e' f\\ g`, '\\'), ['a="b c"', "'d e'", 'f\\ g']);
  assert.throws(() => splitWords('"open', '\\'), /not closed/);
});
