"""What is printed for SLURM and Kubernetes, which start processes themselves: a script, a manifest.

Both start 1 + SERVERS + WORKERS times the same text; the number that they give a process makes it the scheduler, a
server or a worker.
"""
import json
import os
import shlex
import sys

from tools import ROOT
from tools.launch.nodes import PORTS, job_environment

PROCESS = '''INDEX={index}
if [ $INDEX -eq 0 ]; then export DMLC_ROLE=scheduler; {server}
elif [ $INDEX -le {servers} ]; then export DMLC_ROLE=server; {server}
else export DMLC_ROLE=worker; exec {command}
fi'''

SLURM = '''#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --ntasks={tasks}   # 1 scheduler + {servers} servers + {workers} workers
#SBATCH --signal=TERM@120   # a training saves and leaves before the time is over
unset DMLC_ROLE DMLC_RANK DMLC_NODE_HOST DMLC_WORKER_ID PORT
{exports}
cd {folder}
srun --label --kill-on-bad-exit=1 bash -c {process}'''


def process(args, command, index, server):
    """The shell text of every process. index: the variable with its number. server: shell text too."""
    return PROCESS.format(index=index, servers=args.servers, server=server, command=shlex.join(command))


def slurm_script(args, command):
    """An sbatch script: one step of all processes, of which the first that fails ends all."""
    uri = args.root_uri or '$(hostname -I | cut -d " " -f 1)'
    if args.interface and not args.root_uri:
        uri = "$(ip -4 -o addr show dev %s | awk '{split($4, a, \"/\"); print a[1]; exit}')" % args.interface
    port = args.port or '$((%d + SLURM_JOB_ID %% %d))' % (PORTS.start, len(PORTS))
    # SLURM sends its signal to all processes; without servers the workers could not agree on a step and save.
    server = 'trap "" TERM; cd %s; exec %s -m tools.launch.server' % (shlex.quote(ROOT), shlex.quote(sys.executable))
    return SLURM.format(
        name=args.name, tasks=1 + args.servers + args.workers, servers=args.servers, workers=args.workers,
        exports='\n'.join('export %s=%s' % item for item in job_environment(args, uri, port).items()),
        folder=shlex.quote(os.getcwd()), process=shlex.quote(process(args, command, '$SLURM_PROCID', server)))


def kubernetes_manifest(args, command):
    """A headless service and one indexed job with a pod for each process, as JSON, which kubectl takes like YAML."""
    name = args.name
    pods = 1 + args.servers + args.workers
    env = job_environment(args, args.root_uri or '%s-0.%s' % (name, name), args.port or 9191)
    env['DMLC_USE_KUBERNETES'] = '1'  # the scheduler listens at 0.0.0.0
    env = [{'name': key, 'value': value} for key, value in env.items()]
    if not args.interface:
        env.append({'name': 'DMLC_NODE_HOST', 'valueFrom': {'fieldRef': {'fieldPath': 'status.podIP'}}})
    text = process(args, command, '$JOB_COMPLETION_INDEX', 'exec python -m tools.launch.server')
    shell = ['sh', '-c', text.replace('$', '$$')]  # Kubernetes makes $ of $$, and reads $(NAME) itself
    pod = {'subdomain': name, 'restartPolicy': 'Never',
           'containers': [{'name': name, 'image': args.image, 'command': shell, 'env': env}]}
    job = {'completionMode': 'Indexed', 'completions': pods, 'parallelism': pods, 'backoffLimit': 0,
           'template': {'metadata': {'labels': {'launch': name}}, 'spec': pod}}
    service = {'clusterIP': 'None', 'publishNotReadyAddresses': True, 'selector': {'launch': name}}
    items = [{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name}, 'spec': service},
             {'apiVersion': 'batch/v1', 'kind': 'Job', 'metadata': {'name': name}, 'spec': job}]
    return json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items}, indent=2)


# --launcher: what prints for it.
PRINTED = {'slurm': slurm_script, 'kubernetes': kubernetes_manifest}
