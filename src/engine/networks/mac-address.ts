/** Docker's rule: the IPv4 address is in the MAC address, so that it changes with it. */
export function macOf(address: string): string {
  return ['02', '42', ...address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))].join(
    ':',
  );
}
