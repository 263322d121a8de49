/** A bridge of ours, as the rules see it. */
export interface BridgeRules {
  bridge: string;
  subnet: string;
  internal: boolean;
  masquerade: boolean;
  /** Whether containers on it may talk to each other. */
  icc: boolean;
}

/** A published port in force. */
export interface PublishedPort {
  protocol: 'tcp' | 'udp';
  hostIp: string;
  hostPort: number;
  address: string;
  port: number;
}

/**
 * The whole table of one daemon, which replaces what was there in one transaction. Its rules never change; bridges and
 * published ports are elements of its sets and maps.
 */
export function wholeTable(
  table: string,
  bridges: readonly BridgeRules[],
  ports: readonly PublishedPort[],
): string {
  return `
add table ip ${table}
delete table ip ${table}
table ip ${table} {
  set bridges { type ifname; }
  set pairs { type ifname . ifname; }
  set internal { type ifname; }
  set hairpin { type ifname . ipv4_addr; flags interval; }
  set masqueraded { type ipv4_addr; flags interval; }
  map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
  map ports_at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain publish {
    dnat ip to ip daddr . meta l4proto . th dport map @ports_at
    dnat ip to meta l4proto . th dport map @ports
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    ct status dnat oifname . ip saddr @hairpin masquerade
    oifname != @bridges ip saddr @masqueraded masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    ct status dnat accept
    iifname . oifname @pairs accept
    iifname @bridges oifname @bridges drop
    iifname @internal oifname != @internal drop
    oifname @internal iifname != @internal drop
  }
}
${bridges.map((bridge) => addBridge(table, bridge)).join('')}${ports.map((port) => addPort(table, port)).join('')}`;
}

export function addBridge(table: string, rules: BridgeRules): string {
  return bridgeElements('add', table, rules);
}

export function removeBridge(table: string, rules: BridgeRules): string {
  return bridgeElements('delete', table, rules);
}

export function addPort(table: string, port: PublishedPort): string {
  return portElement('add', table, port, ` : ${port.address} . ${port.port}`);
}

export function removePort(table: string, port: PublishedPort): string {
  return portElement('delete', table, port, '');
}

function bridgeElements(verb: 'add' | 'delete', table: string, rules: BridgeRules): string {
  const element = (set: string, value: string): string => `${verb} element ip ${table} ${set} { ${value} }\n`;
  const name = JSON.stringify(rules.bridge);
  return [
    element('bridges', name),
    // a container that calls a published port of its own network; where br_netfilter is, there is no iifname
    element('hairpin', `${name} . ${rules.subnet}`),
    rules.icc ? element('pairs', `${name} . ${name}`) : '',
    rules.internal ? element('internal', name) : '',
    rules.masquerade && !rules.internal ? element('masqueraded', rules.subnet) : '',
  ].join('');
}

function portElement(verb: 'add' | 'delete', table: string, port: PublishedPort, target: string): string {
  const place = `${port.protocol} . ${port.hostPort}`;
  return port.hostIp === '0.0.0.0'
    ? `${verb} element ip ${table} ports { ${place}${target} }\n`
    : `${verb} element ip ${table} ports_at { ${port.hostIp} . ${place}${target} }\n`;
}
