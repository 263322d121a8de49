/** What `docker exec` asks for, in the API's spelling. */
export interface ExecConfig {
  AttachStdin: boolean;
  AttachStdout: boolean;
  AttachStderr: boolean;
  Tty: boolean;
  DetachKeys: string;
  Cmd: string[];
  Env: string[];
  Privileged: boolean;
  /** `user[:group]`; empty is the container's. */
  User: string;
  /** Empty is the container's. */
  WorkingDir: string;
}
