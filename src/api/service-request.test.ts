import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceSpecSchema } from './service-request.ts';

const TEMPLATE = { ContainerSpec: { Image: 'bb' } };

test('empty words are not given; what is unknown is passed over', () => {
  const spec = serviceSpecSchema.parse({
    Name: 'web',
    Odd: 1,
    TaskTemplate: {
      ContainerSpec: { Image: 'bb', Isolation: '', Secrets: [{ SecretID: 'i', SecretName: 'n', File: {} }] },
      RestartPolicy: { Condition: '' },
      Runtime: '',
      Placement: { Preferences: [{ Spread: null }] },
    },
    UpdateConfig: { FailureAction: '', Order: '', Parallelism: 0 },
    EndpointSpec: { Mode: '', Ports: [{ TargetPort: 80, Protocol: '', PublishMode: '' }] },
  });
  assert.deepEqual(spec, {
    Name: 'web',
    TaskTemplate: {
      ContainerSpec: {
        Image: 'bb',
        Secrets: [{ SecretID: 'i', SecretName: 'n', File: { Name: '', UID: '0', GID: '0', Mode: 0o444 } }],
      },
      RestartPolicy: {},
      Placement: { Preferences: [] },
    },
    UpdateConfig: { Parallelism: 0 },
    EndpointSpec: { Ports: [{ TargetPort: 80 }] },
  });
});

test('a word that is not known is refused with it', () => {
  const cases: [object, RegExp][] = [
    [{ UpdateConfig: { FailureAction: 'odd' } }, /unrecognized update failure action odd/],
    [{ UpdateConfig: { Order: 'odd' } }, /unrecognized update order odd/],
    [{ EndpointSpec: { Ports: [{ TargetPort: 1, Protocol: 'odd' }] } }, /invalid protocol: \\"odd\\"/],
    [{ EndpointSpec: { Ports: [{ TargetPort: 1, PublishMode: 'odd' }] } }, /invalid publish mode/],
    [
      { TaskTemplate: { ContainerSpec: { Image: 'bb', Mounts: [{ Type: 'odd', Target: '/x' }] } } },
      /invalid MountType: \\"odd\\"/,
    ],
    [
      { TaskTemplate: { ...TEMPLATE, Resources: { Reservations: { GenericResources: [{}] } } } },
      /is neither a NamedResourceSpec nor a DiscreteResourceSpec/,
    ],
  ];
  for (const [spec, message] of cases) {
    const parsed = serviceSpecSchema.safeParse({ Name: 'x', TaskTemplate: TEMPLATE, ...spec });
    assert.equal(parsed.success, false);
    assert.match(String(parsed.error), message);
  }
});

test('what is another platform’s or another kind of task is refused by name', () => {
  const cases: [object, RegExp][] = [
    [{ PluginSpec: { Name: 'p' } }, /^services of plugins are not there/],
    [{ ...TEMPLATE, NetworkAttachmentSpec: { ContainerID: 'c' } }, /^NetworkAttachmentSpec is made by/],
    [
      { ContainerSpec: { Image: 'bb', Configs: [{ ConfigID: 'c', ConfigName: 'c', Runtime: {} }] } },
      /^Configs\.Runtime is for/,
    ],
    [
      { ContainerSpec: { Image: 'bb', Privileges: { SELinuxContext: { Type: 't' } } } },
      /^Privileges\.SELinuxContext is not there yet/,
    ],
  ];
  for (const [TaskTemplate, message] of cases) {
    assert.throws(() => serviceSpecSchema.parse({ TaskTemplate }), { kind: 'not-implemented', message });
  }
});
