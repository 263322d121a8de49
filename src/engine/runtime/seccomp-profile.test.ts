import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompiledSeccompFilters } from './compiled-seccomp.ts';
import { customSeccomp, defaultSeccomp, type Seccomp } from './seccomp-profile.ts';

const allowed = ({ syscalls }: Seccomp, name: string): boolean =>
  syscalls.some(
    (rule) => rule.action === 'SCMP_ACT_ALLOW' && rule.args === undefined && rule.names.includes(name),
  );

test('the default profile refuses, and opens what a capability is for', () => {
  const plain = defaultSeccomp([]);
  assert.equal(plain.defaultAction, 'SCMP_ACT_ERRNO');
  for (const name of ['read', 'openat', 'execve', 'futex']) assert.ok(allowed(plain, name), name);
  for (const name of ['mount', 'reboot', 'kexec_load', 'init_module', 'bpf', 'setns', 'unshare'])
    assert.ok(!allowed(plain, name), name);
  const admin = defaultSeccomp(['CAP_SYS_ADMIN']);
  for (const name of ['mount', 'setns', 'unshare', 'bpf']) assert.ok(allowed(admin, name), name);
  assert.ok(!allowed(admin, 'reboot'));
  assert.ok(allowed(defaultSeccomp(['CAP_SYS_BOOT']), 'reboot'));
});

test('a profile of one’s own: rules for capabilities and architectures, both spellings of names', () => {
  const profile = customSeccomp(
    JSON.stringify({
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 38,
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { name: 'write', action: 'SCMP_ACT_ALLOW' },
        { names: ['mount'], action: 'SCMP_ACT_ALLOW', includes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['ptrace'], action: 'SCMP_ACT_ALLOW', excludes: { caps: ['CAP_SYS_ADMIN'] } },
        { names: ['arm_fadvise64_64'], action: 'SCMP_ACT_ALLOW', includes: { arches: ['arm'] } },
      ],
    }),
    ['CAP_SYS_ADMIN'],
  );
  assert.equal(profile.defaultErrnoRet, 38);
  assert.deepEqual(
    profile.syscalls.flatMap(({ names }) => names),
    ['read', 'write', 'mount'],
  );
});

test('what is no profile is refused, with what is wrong', () => {
  for (const text of [
    '',
    '{',
    '[]',
    '{}',
    'null',
    '{"defaultAction": 3}',
    '{"defaultAction":"x","syscalls":{}}',
  ])
    assert.throws(() => customSeccomp(text, []), /Decoding seccomp profile failed/, text);
});

test('a filter is compiled once for a profile, and never for one that brings its own', () => {
  const filters = new CompiledSeccompFilters();
  const linux = { seccomp: defaultSeccomp([]) };
  // Only what the filters look at.
  const specification = { linux, annotations: {} } as unknown as Parameters<typeof filters.apply>[0];
  assert.equal(filters.apply(specification), specification);
  filters.learn(specification, import.meta.filename);
  assert.match(filters.apply(specification).annotations['run.oci.seccomp_bpf_data'] ?? '', /^[\w+/]+=*$/);
  const other = { ...specification, linux: { seccomp: defaultSeccomp(['CAP_BPF']) } } as typeof specification;
  assert.equal(filters.apply(other), other);
  const own = { ...specification, annotations: { 'run.oci.seccomp_bpf_data': 'AAAA' } };
  assert.equal(filters.apply(own), own);
});
