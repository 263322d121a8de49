/** What every object of a cluster has. Its version is the store's revision, which is no part of what is stored. */
export interface ClusterObject {
  /** 25 characters of `0-9a-z`, as Swarm's. */
  ID: string;
  /** RFC 3339. */
  CreatedAt: string;
  UpdatedAt: string;
}

export interface Annotations {
  Name?: string;
  Labels?: Record<string, string>;
}
