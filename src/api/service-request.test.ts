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

test('a word that is not known is refused with it, in Docker’s words alone', () => {
  const mounts = { ContainerSpec: { Image: 'bb', Mounts: [{ Type: 'odd', Target: '/x' }] } };
  const cases: [object, string][] = [
    [{ UpdateConfig: { FailureAction: 'odd' } }, 'unrecognized update failure action odd'],
    [{ UpdateConfig: { Order: 'odd' } }, 'unrecognized update order odd'],
    [{ EndpointSpec: { Ports: [{ TargetPort: 1, Protocol: 'odd' }] } }, 'invalid protocol: "odd"'],
    [{ EndpointSpec: { Ports: [{ TargetPort: 1, PublishMode: 'odd' }] } }, 'invalid publish mode: "odd"'],
    [{ TaskTemplate: mounts }, 'invalid MountType: "odd"'],
  ];
  for (const [spec, message] of cases) {
    const given = { Name: 'x', TaskTemplate: TEMPLATE, ...spec };
    assert.throws(() => serviceSpecSchema.parse(given), { kind: 'invalid', message });
  }
});

test('a generic resource is of one kind or the other; its number is 0 where a client says none', () => {
  const asking = (resource: object) =>
    serviceSpecSchema.safeParse({
      TaskTemplate: { ...TEMPLATE, Resources: { Reservations: { GenericResources: [resource] } } },
    });
  assert.match(String(asking({}).error), /is neither a NamedResourceSpec nor a DiscreteResourceSpec/);
  const counted = asking({ DiscreteResourceSpec: { Kind: 'gpu' } });
  assert.deepEqual(counted.data?.TaskTemplate.Resources?.Reservations?.GenericResources, [
    { DiscreteResourceSpec: { Kind: 'gpu', Value: 0 } },
  ]);
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
