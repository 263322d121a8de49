import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServicePlan, StackPlan } from '#model/stack-plan.ts';
import type { StackProgress, StackServiceProgress } from '#model/stack-progress.ts';
import { DeployView } from './deploy-view.ts';
import { planText } from './plan-view.ts';

function service(o: Partial<ServicePlan> & { name: string }): ServicePlan {
  return {
    action: 'none',
    changes: [],
    restarts: [],
    ends: [],
    starts: 0,
    order: 'start-first',
    after: [],
    ...o,
  };
}

function plan(services: ServicePlan[], o: Partial<StackPlan> = {}): string {
  const empty = { objects: [], images: {}, problems: [], warnings: [], basis: [] };
  return planText({ stack: 'shop', release: 3, services, ...empty, ...o }, { colour: false });
}

test('a plan says what changes, from what to what, and which tasks that concerns', () => {
  const web = service({
    name: 'shop_web',
    action: 'update',
    after: ['shop_db'],
    changes: [
      { path: 'Labels[com.docker.stack.image]', before: 'web:1', after: 'web:2', drift: false },
      { path: 'TaskTemplate.ContainerSpec.Image', before: 'web:1', after: 'web:2', drift: false },
      { path: 'TaskTemplate.ContainerSpec.Env[LOG]', after: 'LOG=debug', drift: false },
      { path: 'Mode.Replicated.Replicas', before: 5, after: 3, drift: true },
    ],
    restarts: [{ name: 'shop_web.1', node: 'node1', state: 'running' }],
    ends: [{ name: 'shop_web.4', node: '', state: 'pending' }],
  });
  const old = service({
    name: 'shop_old',
    action: 'remove',
    ends: [{ name: 'shop_old.1', node: 'node2', state: 'running' }],
  });
  const api = service({ name: 'shop_api', action: 'create', starts: 2, misfit: '1 of 2 tasks: no room' });
  const objects = [{ kind: 'secret', name: 'shop_key_1a2b3c4d', action: 'create' } as const];
  assert.equal(
    plan([web, service({ name: 'shop_db' }), old, api], { objects, problems: ['config x is not there'] }),
    `! config x is not there
! service shop_api: 1 of 2 tasks: no room
  + secret shop_key_1a2b3c4d
  ~ service shop_web (after shop_db)
      Image     web:1 → web:2
      Env[LOG]  – → debug
      Replicas  5 → 3   (changed in the cluster since release 3)
      restarts 1 task (shop_web.1 on node1), start-first
      ends 1 task (shop_web.4 (on no node yet))
  - service shop_old
      ends 1 task (shop_old.1 on node2)
  + service shop_api
      starts 2 tasks

Stack shop, release 3: services: 1 to create, 1 to update, 1 to remove, 1 unchanged; 1 task restarts.
`,
  );
});

test('nothing to do is one line', () => {
  assert.equal(
    plan([service({ name: 'shop_db' })]),
    'Stack shop: the cluster is as it is to be, release 3.\n',
  );
});

function progress(...services: StackServiceProgress[]): StackProgress {
  return { stack: 'shop', release: 1, status: { State: 'deploying', Message: '', since: '' }, services };
}

const WEB: StackServiceProgress = {
  name: 'shop_web',
  state: 'moving',
  running: 1,
  wanted: 3,
  update: 'updating',
  reason: '',
};
const DB: StackServiceProgress = { ...WEB, name: 'shop_db', state: 'settled', update: '', wanted: 1 };

function screen(isTTY: boolean): {
  text: string;
  isTTY: boolean;
  columns: number;
  write(text: string): void;
} {
  return {
    text: '',
    isTTY,
    columns: 40,
    write(text: string) {
      this.text += text;
    },
  };
}

test('without a terminal each change of a service is a line', () => {
  const out = screen(false);
  const view = new DeployView(out);
  view.show(progress(DB, WEB));
  view.show(progress(DB, WEB));
  view.show(progress(DB, { ...WEB, running: 2, reason: 'no suitable node' }));
  assert.equal(
    out.text,
    'shop_db   1/1  done\nshop_web  1/3  updating\nshop_web  2/3  updating: no suitable node\n',
  );
});

test('on a terminal a service has one line, no longer than the screen', () => {
  const out = screen(true);
  const view = new DeployView(out);
  view.show(progress(DB, WEB));
  const before = out.text.length;
  view.show(progress(DB, { ...WEB, reason: 'x'.repeat(100) }));
  const redrawn = out.text.slice(before);
  assert.ok(redrawn.startsWith('\x1b[2A'));
  assert.equal(redrawn.split('\n').length, 3);
  assert.ok(!redrawn.includes('x'.repeat(30)));
});
