"""The platform's resources, ``toolorchestra.dev/v1alpha1``: the single source of manifests, CRDs and validation."""

from toolorchestra.core.resources.budget import BudgetPolicy, BudgetPolicySpec
from toolorchestra.core.resources.expert import ExpertModel, ExpertModelSpec, Offer
from toolorchestra.core.resources.jobs import Evaluation, JobSpec, ToolScaleDataset, TrainingRun
from toolorchestra.core.resources.manifest import KINDS, Resource, parse_documents, parse_resource
from toolorchestra.core.resources.meta import API_VERSION, Metadata, SecretKeyRef
from toolorchestra.core.resources.orchestrator import Orchestrator, OrchestratorSpec
from toolorchestra.core.resources.tool import Tool, ToolSpec

__all__ = [
    "API_VERSION",
    "KINDS",
    "BudgetPolicy",
    "BudgetPolicySpec",
    "Evaluation",
    "ExpertModel",
    "ExpertModelSpec",
    "JobSpec",
    "Metadata",
    "Offer",
    "Orchestrator",
    "OrchestratorSpec",
    "Resource",
    "SecretKeyRef",
    "Tool",
    "ToolScaleDataset",
    "ToolSpec",
    "TrainingRun",
    "parse_documents",
    "parse_resource",
]
